"""Rules on loading: what unpickles, builds objects or runs the code of a repository.

Sources: the security notes of the pickle, shelve, marshal, numpy.load, torch.load, joblib.load and yaml.load
documentation; CVE-2025-1550 (Keras `safe_mode`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.around.python.values import DOWNLOAD, tags_of
from modelward.artifact.around.python.weakness import Weakness, is_false, is_true, weak

if TYPE_CHECKING:
    from modelward.artifact.around.python.scope import Site
    from modelward.artifact.around.python.weakness import Rule
    from modelward.artifact.events import Severity

_SAFE_FORMAT: Final = (
    "store tensors as safetensors (or the estimator as skops or ONNX), or scan the file first"
)


def _downloaded(site: Site) -> bool:
    first = site.args[0] if site.args else None
    remote = first is not None and first.start.startswith(("http://", "https://", "s3://", "gs://"))
    return remote or DOWNLOAD in tags_of((*site.args, *site.named.values()))


def _unpickles(site: Site) -> Weakness:
    name = site.path
    if _downloaded(site):
        message = f"{name} unpickles what was downloaded: whoever controls it runs code here"
        return weak(site, "unpickles-download", "critical", message, _SAFE_FORMAT)
    message = f"{name} runs whatever code the file names"
    return weak(site, "unpickles", "medium", message, _SAFE_FORMAT)


def _torch_load(site: Site) -> Weakness | None:
    if is_true(site, "weights_only"):
        return None
    given = site.named.get("weights_only")
    if given is not None and not given.known:
        return None
    if site.open and given is None:
        return None
    how = (
        "with weights_only=False"
        if given is not None
        else "without weights_only=True (unsafe before torch 2.6)"
    )
    remote = _downloaded(site)
    severity: Severity = (
        "critical" if remote and given is not None else "high" if given is not None or remote else "medium"
    )
    message = f"torch.load {how} unpickles the file" + (", which was downloaded" if remote else "")
    return weak(site, "torch-load", severity, message, "pass weights_only=True, or load safetensors")


def _jit_load(site: Site) -> Weakness | None:
    if not _downloaded(site):
        return None
    message = f"{site.path} runs the program in a downloaded file"
    return weak(
        site, "loads-program", "high", message, "load weights into a model whose code you have reviewed"
    )


def _hub(site: Site) -> Weakness | None:
    source = site.arg(2, "source")
    if source is not None and source.string == "local":
        return None
    repo = site.arg(0, "repo_or_dir")
    name = repo.string if repo is not None else None
    if name is not None and name.startswith("pytorch/"):
        return None
    pinned = name is not None and ":" in name
    message = f"torch.hub.load runs hubconf.py of {name or 'a repository'}" + (
        "" if pinned else " at its newest state"
    )
    return weak(
        site,
        "torch-hub",
        "medium",
        message,
        "pin a reviewed commit (owner/repo:commit) and trust_repo='check'",
    )


_YAML_SAFE: Final = ("SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader")


def _yaml(site: Site) -> Weakness | None:
    loader = site.arg(1, "Loader")
    if loader is None:
        if site.open:
            return None
        return weak(
            site,
            "yaml-load",
            "high",
            "yaml.load without a Loader may build any object that the text names (PyYAML before 6)",
            "use yaml.safe_load",
        )
    leaf = loader.path.rsplit(".", 1)[-1]
    if not loader.path.startswith(("yaml.", "ruamel.")) or leaf in _YAML_SAFE or leaf == "RoundTripLoader":
        return None
    severity: Severity = "medium" if leaf in {"FullLoader", "CFullLoader"} else "high"
    return weak(
        site,
        "yaml-load",
        severity,
        f"yaml.load with {leaf} builds objects from the text",
        "use yaml.safe_load",
    )


def _yaml_unsafe(site: Site) -> Weakness:
    return weak(
        site, "yaml-load", "high", f"{site.path} builds any object that the text names", "use yaml.safe_load"
    )


def _numpy(site: Site) -> Weakness | None:
    if not is_true(site, "allow_pickle", 2):
        return None
    severity: Severity = "critical" if _downloaded(site) else "medium"
    message = "numpy.load with allow_pickle=True unpickles object arrays, which runs code"
    return weak(site, "numpy-pickle", severity, message, "store plain arrays and leave allow_pickle=False")


def _keras(site: Site) -> Weakness | None:
    if not is_false(site, "safe_mode"):
        return None
    message = f"{site.path} with safe_mode=False runs the code of Lambda layers"
    return weak(site, "keras-unsafe", "high", message, "leave safe_mode=True, and register your own layers")


def _keras_switch(site: Site) -> Weakness:
    message = "enable_unsafe_deserialization lets every Keras file loaded later run code"
    return weak(site, "keras-unsafe", "high", message, "remove the call, and register your own layers")


def _mlflow(site: Site) -> Weakness | None:
    first = site.arg(0, "model_uri")
    if first is None or not first.start.startswith(("http://", "https://", "s3://", "gs://", "ftp://")):
        return None
    message = f"{site.path} runs the code of a model at {first.start[:80]}"
    return weak(
        site, "mlflow-remote", "high", message, "load from a registry that you control, after scanning"
    )


def trust_remote_code(site: Site) -> Weakness | None:
    """Any call with `trust_remote_code=True`."""
    if not is_true(site, "trust_remote_code"):
        return None
    revision = site.named.get("revision") or site.named.get("code_revision")
    pinned = revision is not None and revision.string is not None and len(revision.string) == 40
    message = "trust_remote_code=True runs Python code of the repository"
    if pinned:
        return weak(
            site,
            "trust-remote-code",
            "medium",
            message + " (pinned to a commit)",
            "review that commit's code",
        )
    remedy = "remove it, or review the code and pin revision= to the commit that you reviewed"
    return weak(site, "trust-remote-code", "high", message, remedy)


_UNPICKLERS: Final = (
    "pickle.load", "pickle.loads", "pickle.Unpickler", "_pickle.load", "_pickle.loads", "cPickle.load",
    "cPickle.loads", "dill.load", "dill.loads", "dill.load_session", "dill.load_module", "cloudpickle.load",
    "cloudpickle.loads", "joblib.load", "sklearn.externals.joblib.load", "six.moves.cPickle.load",
    "six.moves.cPickle.loads", "pandas.read_pickle", "pandas.io.pickle.read_pickle", "shelve.open",
    "marshal.load", "marshal.loads", "jsonpickle.decode", "jsonpickle.loads", "compress_pickle.load",
    "pickle5.load", "pickle5.loads", "hickle.load", "torch.package.PackageImporter",
)  # fmt: skip
_KERAS: Final = (
    "keras.models.load_model", "keras.saving.load_model", "tensorflow.keras.models.load_model",
    "tf_keras.models.load_model", "tensorflow.keras.saving.load_model", "keras.layers.deserialize",
    "keras.models.model_from_json", "keras.saving.deserialize_keras_object",
)  # fmt: skip
_MLFLOW: Final = tuple(
    f"mlflow.{flavour}.load_model"
    for flavour in (
        "pyfunc",
        "sklearn",
        "pytorch",
        "tensorflow",
        "keras",
        "transformers",
        "xgboost",
        "lightgbm",
    )
)

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_UNPICKLERS, _unpickles),
    **dict.fromkeys(_KERAS, _keras),
    **dict.fromkeys(_MLFLOW, _mlflow),
    "torch.load": _torch_load,
    "torch.serialization.load": _torch_load,
    "torch.jit.load": _jit_load,
    "torch.export.load": _jit_load,
    "torch.hub.load": _hub,
    "yaml.load": _yaml,
    "yaml.load_all": _yaml,
    "yaml.unsafe_load": _yaml_unsafe,
    "yaml.unsafe_load_all": _yaml_unsafe,
    "numpy.load": _numpy,
    "keras.config.enable_unsafe_deserialization": _keras_switch,
    "tensorflow.keras.config.enable_unsafe_deserialization": _keras_switch,
    "keras.saving.enable_unsafe_deserialization": _keras_switch,
}
"""Called name -> rule."""
