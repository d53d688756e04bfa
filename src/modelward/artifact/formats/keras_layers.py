"""Layers of Keras whose configuration carries code, files or operations of another library.

Sources: Keras 3.15, keras/src/layers/core/lambda_layer.py, layers/preprocessing/index_lookup.py
(CVE-2025-12058), utils/torch_utils.py (CVE-2025-49655), utils/jax_layer.py, export/tfsm_layer.py; Keras 2.15,
layers/core/lambda_layer.py and tf_op_layer.py.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.paths import escapes
from modelward.artifact.pickle import rules
from modelward.artifact.reading import Inner

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.formats.keras import Judge
    from modelward.core.canonical import JSON

_SAFE: Final = frozenset(
    {
        "math", "nn", "linalg", "signal", "strings", "bitwise", "image", "random", "sparse", "ragged", "sets",
        "dtypes", "quantization", "__operators__",
    }
)  # fmt: skip
"""Namespaces of TensorFlow that only compute."""
_ACTING: Final = frozenset(
    {
        "io", "saved_model", "data", "train", "summary", "sysconfig", "profiler", "distribute", "py_function",
        "numpy_function", "py_func", "load_op_library", "load_library", "gfile", "python_io", "contrib",
    }
)  # fmt: skip
"""Namespaces and functions of TensorFlow that reach files, libraries or Python functions."""


def _lambda(judge: Judge, config: dict[str, JSON]) -> None:
    for key in ("function", "output_shape", "mask"):
        given, how = config.get(key), config.get(f"{key}_type")
        module = config.get("module" if key == "function" else f"{key}_module")
        listed = isinstance(given, list) and bool(given) and isinstance(given[0], str)
        if listed or (isinstance(given, str) and how == "lambda"):
            judge.code(given)
        elif isinstance(given, str) and key != "mask":
            place = module if isinstance(module, str) and module != "__main__" else ""
            if place and (danger := rules.payload(place, given) or rules.gadget(place, given)):
                judge.dangerous(
                    "injection", f"the function {place}.{given}"[:200] + f" is looked up: {danger}"
                )
            else:
                judge.function(given, "")
        elif isinstance(given, str):
            judge.unproven(
                "custom", f"the mask {given[:100]} must be brought by the code that loads the file"
            )


def _vocabulary(judge: Judge, config: dict[str, JSON]) -> None:
    for key in ("vocabulary", "idf_weights"):
        _file(judge, config.get(key), "the vocabulary of a layer")


def _graph(judge: Judge, config: dict[str, JSON]) -> None:
    path = config.get("filepath")
    _file(judge, path, "a SavedModel, which runs as part of the layer,")
    if not isinstance(path, str):
        judge.unproven("wrapper", "a layer runs a SavedModel from elsewhere")


def _file(judge: Judge, path: JSON, what: str) -> None:
    if not isinstance(path, str):
        return
    shown = repr(path[:200])
    if (why := escapes(path)) is not None:
        judge.dangerous("file", f"{what} is read from {shown}, which {why}")
    else:
        judge.unproven("file", f"{what} is read from the file {shown}")


def _wrapper(judge: Judge, config: dict[str, JSON]) -> None:
    del config
    judge.unproven("wrapper", "a layer runs functions of another library, which the configuration only names")


def _torch(judge: Judge, config: dict[str, JSON]) -> None:
    given = config.get("module")
    try:
        content = base64.b64decode(given.encode("ascii")) if isinstance(given, str) else b""
    except ValueError:
        content = b""
    if content:
        judge.into.inner.append(Inner("TorchModuleWrapper", content))
    else:
        judge.into.missed(f"{judge.where}: the module of a TorchModuleWrapper cannot be read")


def _symbol(judge: Judge, config: dict[str, JSON]) -> None:
    """A function of TensorFlow by its public name, called with constants of the file."""
    for key in ("function", "cls_symbol"):
        given = config.get(key)
        if not isinstance(given, str):
            continue
        name = given.removeprefix("tf.").removeprefix("compat.v1.").removeprefix("compat.v2.")
        shown = f"tf.{name[:100]}"
        acts = _acts(name.split("."))
        if acts is True:
            judge.dangerous("operation", f"the function {shown} reaches files, libraries or Python", shown)
        elif key == "cls_symbol":
            judge.unproven("operation", f"a method of {shown} is called")
        elif acts is None:
            judge.unproven("operation", f"the function {shown} is not known to compute only")


def _acts(parts: list[str]) -> bool | None:
    """Whether a function of TensorFlow does more than compute; None when it is not known."""
    from modelward.artifact.formats.keras import known
    from modelward.artifact.formats.tensorflow_rules import DANGEROUS, READERS, WRITERS
    from modelward.artifact.formats.tensorflow_rules import known as operators

    leaf = parts[-1]
    operator = leaf if parts[0] == "raw_ops" else "".join(part.title() for part in leaf.split("_"))
    if set(parts) & _ACTING or operator in DANGEROUS or operator in WRITERS | READERS:
        return True
    if parts[0] == "keras":
        return (
            False if leaf in known().operations else True if parts[1:2] in (["utils"], ["models"]) else None
        )
    if len(parts) > 1 and (parts[0] in _SAFE or (parts[0] == "debugging" and leaf.startswith("assert_"))):
        return False
    plainly = len(parts) == 1 and (operator in operators() or leaf in known().operations)
    return False if plainly or (parts[0] == "raw_ops" and operator in operators()) else None


def _node(judge: Judge, config: dict[str, JSON]) -> None:
    """An operator of a TensorFlow graph, as Keras of TensorFlow 2.0 to 2.3 wrote it."""
    from modelward.artifact.formats.tensorflow_rules import DANGEROUS, READERS, WRITERS, known

    given = config.get("node_def")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    operator = given.get("op") if isinstance(given, dict) else None
    if not isinstance(operator, str):
        judge.unproven("operation", "an operator of TensorFlow cannot be read")
    elif operator in DANGEROUS or operator in WRITERS | READERS:
        what = DANGEROUS.get(operator, "reads or writes files")
        judge.dangerous("operation", f"the operator {operator} {what}", operator)
    elif operator not in known():
        judge.unproven("operation", f"the operator {operator[:100]} is not known")


def _method(judge: Judge, config: dict[str, JSON]) -> None:
    judge.unproven("operation", f"the method {str(config.get('method_name'))[:100]} of a tensor is called")


BY_NAME: Final[dict[str, Callable[[Judge, dict[str, JSON]], None]]] = {
    "Lambda": _lambda,
    "StringLookup": _vocabulary,
    "IntegerLookup": _vocabulary,
    "IndexLookup": _vocabulary,
    "TextVectorization": _vocabulary,
    "TFSMLayer": _graph,
    "JaxLayer": _wrapper,
    "FlaxLayer": _wrapper,
    "TorchModuleWrapper": _torch,
    "TFOpLambda": _symbol,
    "SlicingOpLambda": _symbol,
    "ClassMethod": _symbol,
    "InstanceMethod": _method,
    "TensorFlowOpLayer": _node,
}
"""Class name -> what its configuration needs."""
