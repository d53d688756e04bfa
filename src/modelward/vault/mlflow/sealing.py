"""Seal a logged model, and load one no further than its seal holds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from modelward.errors import ConfigInvalid, FileMissing
from modelward.vault.mlflow.gate import ATTESTATIONS, FOLDER, SEAL, unsealed
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.tree.hashing import TreeOptions, hash_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modelward.vault.keys.signer import Signer
    from modelward.vault.mlflow.gate import Gate

    Attest = Callable[[str, str], Mapping[str, bytes]]

_LOGGED: Final = "models:/m-"
_RUN: Final = "runs:/"


def seal_logged_model(
    model_uri: str,
    signers: Sequence[Signer],
    *,
    name: str = "",
    attest: Attest | None = None,
    client: MlflowClient | None = None,
) -> str:
    """Sign a logged model and log the seal beside it, as `modelward/seal.json` among its artifacts.

    A seal that is there already is written over: whoever may log can sign again, and nobody can sign for the
    keys that count.

    Args:
        model_uri: ``models:/m-<id>`` as MLflow 3 names a logged model, or ``runs:/<run>/<path>``.
        signers: at least one.
        name: of the model, as the seal states it; else the URI. It is informative.
        attest: called with the root and the name; gives attestations, file name to bundle, logged beside
            the seal.
        client: MLflow's; null for one of the tracking server that is set.

    Returns:
        The root that was signed, ``sha256:<hex>``.

    Raises:
        ConfigInvalid: the URI is of another kind.
        FileMissing: the model holds no file.
        PathUnsafe: see `tree.walk`.
        ValueError: there is no signer.
        KeyServiceFailed: a key's token or server does not sign.
        MlflowException: MLflow does not give or take the artifacts.
    """
    if not model_uri.startswith((_LOGGED, _RUN)):
        raise ConfigInvalid(
            f"{model_uri}: a model is sealed where it was logged",
            advice="Name it like `models:/m-...` or `runs:/RUN/PATH`, as `log_model` returns it.",
        )
    asked = client or MlflowClient()
    with tempfile.TemporaryDirectory(prefix="modelward-") as folder:
        model = _download(model_uri, Path(folder), asked)
        tree = hash_tree(model, TreeOptions(excluded=unsealed(model)))
        said = name or model_uri
        new = Path(folder) / "new"
        (new / ATTESTATIONS).mkdir(parents=True)
        (new / SEAL).write_bytes(sign_tree(tree, signers, name=said, listed=True))
        for file, data in (attest(tree.root, said) if attest is not None else {}).items():
            (new / ATTESTATIONS / file).write_bytes(data)
        _log(model_uri, new, asked)
    return tree.root


def download_verified(model_uri: str, directory: Path, gate: Gate) -> Path:
    """Download a model and verify it where it lies; load it from there, not by its URI.

    Args:
        model_uri: as MLflow names it, registered models included.
        directory: an empty folder.
        gate: what is demanded.

    Returns:
        The model's folder, for `mlflow.pyfunc.load_model` or another loader.

    Raises:
        SealRefused: it carries no seal, or one that does not hold.
        PolicyRefused: what is attested does not satisfy the policy.
        MlflowException: MLflow does not give the artifacts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    model = _download(model_uri, directory, None)
    gate.check(model)
    return model


def _download(model_uri: str, folder: Path, client: MlflowClient | None) -> Path:
    tracking = None if client is None else client.tracking_uri
    target = folder / "model"
    target.mkdir()
    found = Path(download_artifacts(artifact_uri=model_uri, dst_path=str(target), tracking_uri=tracking))
    if not found.is_dir():
        raise FileMissing(f"{model_uri}: is one file, no logged model")
    return found


def _log(model_uri: str, new: Path, client: MlflowClient) -> None:
    if model_uri.startswith(_LOGGED):
        client.log_model_artifacts(model_uri.removeprefix("models:/").rstrip("/"), str(new), FOLDER)
        return
    run, _, path = model_uri.removeprefix(_RUN).strip("/").partition("/")
    client.log_artifacts(run, str(new), f"{path}/{FOLDER}" if path else FOLDER)
