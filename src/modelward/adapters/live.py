"""Live objects: torch modules, scikit-learn estimators, boosters, and any callable."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.runtime import Facts, Runtime
from modelward.core.digest import array_digest, table_digest
from modelward.core.subject import Subject
from modelward.errors import FormatUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn


@final
class CallableRuntime:
    """A function from (n, *shape), or a list of n texts, to scores or labels."""

    def __init__(self, function: Callable[[NDArray[np.generic] | list[str]], object], origin: str) -> None:
        self._function = function
        self._facts = Facts(origin=origin)

    @property
    def facts(self) -> Facts:
        """A function says nothing about itself."""
        return self._facts

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Call it with a copy, because a function can change the array it is given; texts come as a list."""
        return np.asarray(self._function(x.tolist() if x.dtype.kind == "O" else np.array(x)))


def live_runtime(model: object, categories: Mapping[str, Sequence[str]] | None = None) -> tuple[Runtime, str]:
    """The runtime of a live object, and the name of its kind.

    Args:
        model: the object; a torch module is copied, so that its mode and its hooks stay as they are.
        categories: column name to category texts, for estimators that were trained on text columns.

    Raises:
        FormatUnknown: it is none that can be asked.
    """
    family = {base.__module__.split(".")[0] for base in type(model).__mro__}
    if "torch" in family:
        from modelward.adapters.runtimes.torch_module import TorchRuntime

        return TorchRuntime(copy.deepcopy(model)), "torch-module"  # type: ignore[arg-type]  # family says so
    kind = type(model).__name__
    if "xgboost" in family and kind == "Booster":
        from modelward.adapters.runtimes.boosters import XGBoostRuntime

        return XGBoostRuntime(model), "xgboost-booster"  # type: ignore[arg-type]  # as above
    if "lightgbm" in family and kind == "Booster":
        from modelward.adapters.runtimes.boosters import lightgbm_from_text

        return lightgbm_from_text(model.model_to_string(), "the booster"), "lightgbm-booster"  # type: ignore[attr-defined]  # as above
    if callable(getattr(model, "predict", None)) and getattr(model, "classes_", None) is not None:
        from modelward.adapters.runtimes.sklearn_file import EstimatorRuntime

        return EstimatorRuntime(model, categories or {}), "estimator"  # type: ignore[arg-type]  # it has predict
    if callable(model):
        return CallableRuntime(model, f"callable {_qualified_name(model)}"), "callable"
    raise FormatUnknown(
        f"an object of type {kind} cannot be asked",
        advice="Give a path, a torch module, a scikit-learn classifier or a function of arrays or texts.",
    )


def live_subject(model: object, kind: str, name: str | None) -> Subject:
    """An asserted identity: the weights where there are any, else the name; the code is not covered.

    Args:
        model: the object.
        kind: as `live_runtime` names it.
        name: what the user calls it.
    """
    called = name or _qualified_name(model)
    if kind == "torch-module":
        digest = _module_digest(model)  # type: ignore[arg-type]  # kind says so
    else:
        digest = "sha256:" + hashlib.sha256(f"{kind}/{called}".encode()).hexdigest()
    return Subject(kind="model", name=called, digest=digest, identity="asserted", format=kind)


def _module_digest(module: nn.Module) -> str:
    columns = {"": "sha256:" + hashlib.sha256(repr(module).encode()).hexdigest()}
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        columns[name] = array_digest(little.dtype.str, little.shape, [little.tobytes()])
    return table_digest(columns)


def _qualified_name(model: object) -> str:
    owner = model if getattr(model, "__qualname__", None) else type(model)
    return f"{owner.__module__}.{getattr(owner, '__qualname__', '?')}"
