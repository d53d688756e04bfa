"""A model registry that asks for a seal before a version reaches a gated stage or alias.

It wraps MLflow's own store of the registry: everything else is handed on to it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, final

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from modelward.errors import ModelwardError
from modelward.vault.mlflow.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities.model_registry import ModelVersion

PREFIX: Final = "modelward+"

_NO_MODEL: Final = frozenset({"prompt-template", "dummy-source"})
"""Where MLflow keeps nothing: the sources of prompts, which are versions without a model."""


class Registry(Protocol):
    """What is used of MLflow's store."""

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        """Where a version's artifacts lie."""
        ...

    def transition_model_version_stage(
        self,
        name: str,
        version: str,
        stage: str,
        archive_existing_versions: bool,  # noqa: FBT001  (MLflow's signature)
    ) -> ModelVersion:
        """Move a version to a stage."""
        ...

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version."""
        ...


def open_gated(uri: str) -> GatedStore:
    """Open a database as a gated registry.

    Args:
        uri: ``modelward+`` and what SQLAlchemy opens.

    Raises:
        MlflowException: the gate's configuration is missing or not valid, or the database cannot be opened.
    """
    try:
        gate = Gate.from_environment()
    except ModelwardError as error:
        raise MlflowException(f"{error}. {error.advice}", INVALID_PARAMETER_VALUE) from error
    build: Callable[[str], Registry] = SqlAlchemyStore
    return GatedStore(build(uri.removeprefix(PREFIX)), gate)


@final
class GatedStore:
    """A registry store that asks the gate before it lets a version pass."""

    def __init__(self, inner: Registry, gate: Gate) -> None:
        self._inner, self._gate = inner, gate

    def __getattr__(self, name: str) -> object:
        if name in {"_inner", "_gate"}:  # not there yet while a copy of this is made
            raise AttributeError(name)
        return getattr(self._inner, name)

    def transition_model_version_stage(
        self,
        name: str,
        version: str,
        stage: str,
        archive_existing_versions: bool,  # noqa: FBT001  (MLflow's signature)
    ) -> ModelVersion:
        """Move a version to a stage.

        Raises:
            MlflowException: the stage is gated and the version's seal does not hold, or as MLflow says.
        """
        if self._gate.gates_stage(stage):
            self._require(name, version, f"stage {stage}")
        return self._inner.transition_model_version_stage(name, version, stage, archive_existing_versions)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version.

        Raises:
            MlflowException: the alias is gated and the version's seal does not hold, or as MLflow says.
        """
        if self._gate.gates_alias(alias):
            self._require(name, version, f"alias {alias}")
        self._inner.set_registered_model_alias(name, alias, version)

    def set_prompt_alias(self, name: str, alias: str, version: str | int) -> None:
        """Point an alias to a version; MLflow does not ask whether it is one of a prompt.

        Raises:
            MlflowException: as `set_registered_model_alias`.
        """
        self.set_registered_model_alias(name, alias, str(version))

    def _require(self, name: str, version: str, wanted: str) -> None:
        uri = self._inner.get_model_version_download_uri(name, version)
        if uri in _NO_MODEL:
            return
        try:
            with tempfile.TemporaryDirectory(prefix="modelward-") as folder:
                self._gate.check(Path(download_artifacts(artifact_uri=uri, dst_path=folder)))
        except ModelwardError as error:
            raise MlflowException(
                f"{name} version {version} is refused for {wanted}: {error}. {error.advice}",
                PERMISSION_DENIED,
            ) from error
