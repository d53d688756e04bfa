"""MLmodel: the YAML that tells MLflow which module loads a model, and from which files.

Source: MLflow 3, "MLflow Models" (storage format; the `python_function` flavour: `loader_module`, `code`,
`data`, `python_model`, `model_code_path`), `mlflow/pyfunc/__init__.py` (`load_model`) and
`mlflow/utils/model_utils.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats import targets
from modelward.artifact.reading import Malformed
from modelward.artifact.yaml import Mapping, Scalar, Sequence, parse

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.artifact.yaml import Node

_PATHS: Final = (
    "data", "model_path", "python_model", "pickled_model", "model_code_path", "code", "code_path", "path",
    "artifact_path", "serialized_artifact_path", "model_binary", "components_path", "state_dict_path",
    "keras_module_path", "model_data", "env",
)  # fmt: skip
"""Keys whose value is a path within the model's folder."""
_IMPORTED: Final = (
    "mlflow", "sklearn", "numpy", "pandas", "scipy", "joblib", "cloudpickle", "pickle", "yaml", "torch",
    "keras", "tensorflow", "transformers", "onnx", "onnxruntime", "xgboost", "lightgbm", "catboost",
    "spacy", "statsmodels", "prophet", "langchain", "openai", "sentence_transformers", "pyspark",
    "h2o", "fastai", "json", "logging",
)  # fmt: skip
"""Modules that the loaders of MLflow import."""
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+://|[a-z]+:/", re.IGNORECASE)


def read(data: Buffer, into: Reading) -> None:
    """Judge what `mlflow.pyfunc.load_model` and the flavours would import and open."""
    roots = parse(bytes(data[:]).decode("utf-8-sig", "replace"))
    root = roots[0] if roots else None
    if not isinstance(root, Mapping):
        raise Malformed("MLmodel is no mapping")
    _objects(root, into)
    flavors = root.get("flavors")
    if not isinstance(flavors, Mapping):
        raise Malformed("MLmodel has no flavors")
    _facts(root, flavors, into)
    _paths(root, "", into)
    for key, flavor in flavors.pairs[:100]:
        into.spend()
        if isinstance(key, Scalar) and isinstance(flavor, Mapping):
            _flavor(key.value, flavor, into)
    into.proven = True


def _facts(root: Mapping, flavors: Mapping, into: Reading) -> None:
    names = [key.value for key, _ in flavors.pairs if isinstance(key, Scalar)]
    into.facts["framework"] = next((name for name in names if name != "python_function"), "mlflow")[:200]
    into.facts["producer"] = "mlflow"
    if version := root.text("mlflow_version"):
        into.facts["format_version"] = version[:200]


def _objects(root: Node, into: Reading) -> None:
    """MLflow reads MLmodel with a safe loader, and makes no objects of it; other tools may."""
    from modelward.artifact.formats import object_yaml

    if object_yaml.names_objects(root):
        object_yaml.judge(root, into)


def _flavor(name: str, flavor: Mapping, into: Reading) -> None:
    _paths(flavor, name, into)
    loader = flavor.text("loader_module")
    if loader is not None:
        _loader(loader, flavor, into)
    for key in ("code", "code_path", "code_paths"):
        place = flavor.get(key)
        if isinstance(place, Scalar) and place.value not in {"", "null", "~"}:
            message = f"{name}: modules in the folder {place.value} can be imported"
            into.note("mlflow.code", message)
            _shadows(place.value, into)
    script = flavor.text("model_code_path")
    if script is not None and script not in {"null", "~"}:
        _script(script, name, into)
    artifacts = flavor.get("artifacts")
    if isinstance(artifacts, Mapping):
        _artifacts(artifacts, into)


def _loader(loader: str, flavor: Mapping, into: Reading) -> None:
    """`importlib.import_module(loader_module)._load_pyfunc(path)`."""
    call = f"{loader}._load_pyfunc({flavor.text('data') or ''!r})"
    level, why = targets.meaning(f"{loader}._load_pyfunc")
    if level == "dangerous":
        into.dangerous("mlflow.payload", f"loader_module {loader} {why}", call=call)
        return
    folder = flavor.text("code")
    prefix = f"{folder}." if folder and folder.isidentifier() else ""
    beside = targets.beside(f"{prefix}{loader}.x", into) or targets.beside(f"{loader}.x", into)
    if beside is not None and beside[0] == "dangerous":
        into.dangerous("mlflow.payload", f"loader_module {loader} {beside[1]}", call=call)
        return
    if level == "inert":
        return
    said = beside[1] if beside is not None else "is not known, and is imported when the model is loaded"
    into.unproven("mlflow.loader", f"loader_module {loader} {said}", call=call)


def _shadows(folder: str, into: Reading) -> None:
    """The folder stands first in the search path: a module in it takes the place of a library."""
    from modelward.artifact.formats import shipped

    for name in _IMPORTED:
        into.spend()
        for path in (f"{folder}/{name}.py", f"{folder}/{name}/__init__.py"):
            if (content := into.beside(path)) is not None:
                shipped.source(into, path, content, f"it takes the place of {name} when the model is loaded")


def _script(path: str, name: str, into: Reading) -> None:
    """A model saved as code: the file is run when the model is loaded."""
    from modelward.artifact.around.source import analyse
    from modelward.artifact.encoding import source

    content = into.beside(path)
    if content is None:
        into.unproven("mlflow.code", f"{name}: {path} is run when the model is loaded, and was not read")
        return
    into.spend(1 + len(content) // 100)
    analysis = analyse(source(content))
    worst = next((effect for effect in analysis.payload if effect.level == "dangerous"), None)
    if worst is not None:
        message = f"{name}: {path} is run when the model is loaded; in line {worst.line}, {worst.message}"
        into.dangerous("mlflow.payload", message, call=worst.call)
    elif analysis.level:
        why = analysis.problem or analysis.payload[0].message
        into.unproven("mlflow.code", f"{name}: {path} is run when the model is loaded: {why}")
    else:
        into.note("mlflow.code", f"{name}: {path} is run when the model is loaded; it is ordinary model code")


def _artifacts(artifacts: Mapping, into: Reading) -> None:
    """`{"name": {"path": "artifacts/x", "uri": "..."}}`: `path` is loaded, `uri` is its origin."""
    for key, entry in artifacts.pairs[:1000]:
        into.spend()
        if isinstance(entry, Mapping) and isinstance(key, Scalar):
            _paths(entry, f"artifact {key.value[:80]}", into)


def _paths(mapping: Mapping, where: str, into: Reading) -> None:
    for key, value in mapping.pairs[:1000]:
        if not isinstance(key, Scalar) or key.value not in _PATHS:
            continue
        values = value.items[:1000] if isinstance(value, Sequence) else [value]
        for item in values:
            if isinstance(item, Scalar):
                _path(item.value, f"{where}: {key.value}" if where else key.value, into)


def _path(path: str, where: str, into: Reading) -> None:
    parts = path.replace("\\", "/").split("/")
    if ".." in parts:
        into.dangerous(
            "mlflow.traversal", f"{where} leads out of the model's folder: {path[:120]}", call=path[:200]
        )
    elif path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[\\/]", path):
        into.dangerous("mlflow.traversal", f"{where} is an absolute path: {path[:120]}", call=path[:200])
    elif _URL.match(path):
        into.unproven("mlflow.remote", f"{where} is fetched from {path[:120]} when the model is loaded")
