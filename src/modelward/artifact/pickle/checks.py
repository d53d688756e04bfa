"""Checks of the state that BUILD gives to an instance.

The machine refuses a second state for any instance, so each check sees all that an object is ever given. A
check that accepts values which are not `data` makes the instance loose (`LOOSE`): its attributes may hide
its methods, so code that calls a method on it could call what the file holds, and is never given it.

Source: joblib/numpy_pickle.py (NumpyArrayWrapper, NumpyUnpickler), joblib 1.6; the `__setstate__` methods
named in tools/allowlist_reviewed.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from modelward.artifact.pickle.state import layout, shape_of
from modelward.artifact.pickle.tables import CHECKS as TABLES
from modelward.artifact.pickle.values import Global, Inert, Map, Obj, Seq, children

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.schema import Matcher
    from modelward.artifact.pickle.values import Value

    Check: TypeAlias = "Callable[[Matcher, Obj, Value], str | None]"

_MAKERS: Final = ("._reconstruct", "._mareconstruct")
_VECTORS: Final = frozenset({"vecentropy", "_cdfvec", "_ppfvec", "generic_moment"})
"""Attributes of a distribution that wrap one of its own methods; loading only sets a number on them."""
_TEMPLATE: Final = re.compile(
    r"\ndef _parse_args\(self, (?P<a>[\w, ]*) (?P<i>[\w=, ]*)\):\n    return \((?P=a)\), (?P<o>[\w, ]*)\n"
    r"\ndef _parse_args_rvs\(self, (?P=a) (?P=i), size=None\):\n"
    r"    return self\._argcheck_rvs\((?P=a) (?P=o), size=size\)\n"
    r"\ndef _parse_args_stats\(self, (?P=a) (?P=i), moments='mv'\):\n    return \((?P=a)\), (?P=o), moments\n"
)
"""The source text `scipy.stats._distn_infrastructure.parse_arg_template`, names and numbers in its gaps."""
_ABSENT: Final = Seq("tuple", [])
"""Stands for an attribute that the state does not give."""
_SYSTEMS: Final = frozenset({"crs", "_crs", "srs"})
_PACKED: Final = frozenset(
    f"__torch__.torch.classes.{name}"
    for name in (
        "quantized.LinearPackedParamsBase",
        "quantized.Conv2dPackedParamsBase",
        "quantized.Conv3dPackedParamsBase",
        "quantized.EmbeddingPackedParamsBase",
        "sparse.LinearPackedParamsBase",
        "rnn.CellParamsBase",
    )
)
"""Native classes that hold quantised weights."""
_OWN_NAMES: Final = frozenset(
    {"__immutable__", "__deprecated_keys__", "__renamed_keys__", "__new_allowed__", "__networkx_cache__"}
)
"""Attributes of yacs.config.CfgNode and networkx graphs, which mean nothing to the interpreter."""
_INERT_NAMES: Final = frozenset({"__doc__", "__name__", "__qualname__", "__module__", "__version__"})
"""Attributes of an instance that nothing but documentation asks for."""
_WRAPPER: Final = {
    "subclass": "=numpy.ndarray|=numpy.matrix|=numpy.matrixlib.defmatrix.matrix|=numpy.recarray|"
    "=numpy.rec.recarray",
    "shape": "tuple", "order": "'C'|'F'", "dtype": "#numpy.dtype", "allow_mmap": "bool",
    "numpy_array_alignment_bytes": "none|int",
}  # fmt: skip
_CONTAINERS: Final = frozenset({"_parameters", "_modules", "_buffers", "_non_persistent_buffers_set"})
_RNN: Final = frozenset({"bias", "bidirectional", "num_layers", "proj_size", "head_dim", "num_heads"})
"""Attributes that `torch.nn.RNNBase.__setstate__` and that of an attention of ultralytics compute with."""
_METRIC: Final = frozenset({"update", "compute", "_update_signature", "_wrap_update", "_wrap_compute"})
"""Attributes of its own that `torchmetrics.Metric.__setstate__` looks at, calls, or wraps."""
_BITS: Final = {"pos": 624, "buffer_pos": 4}
"""Positions in the buffers of MT19937 and Philox, which native code does not check."""


def check_dtype(match: Matcher, target: Obj, state: Value) -> str | None:
    """The state of a dtype: a copy that nothing has used yet, with sizes, offsets and flags that agree."""
    if target.used:
        return "a numpy.dtype is changed after it was used, so native code could misread memory"
    if target.args is None or len(target.args) != 3 or match.scalar(target.args[2]) != 1:
        return "the state of a numpy.dtype could change a type that all arrays share"
    target.state = state
    match.layouts.pop(id(target), None)
    found = layout(match, target)
    match.layouts.pop(id(target), None)
    target.state, target.used = None, False
    for part in children(state):
        if isinstance(part, Map):
            part.shared = True  # numpy keeps the dictionary of fields itself
    if found is None:
        return "the state of a numpy.dtype contradicts its type, so native code could misread memory"
    metadata = state.items[8] if isinstance(state, Seq) and len(state.items) > 8 else None
    if metadata is not None and not match.matches_one("none|data", metadata):
        return "the metadata of a numpy.dtype is not data"
    return None


def check_array(match: Matcher, target: Obj, state: Value) -> str | None:
    """The state of an array: `(version, shape, dtype, is_fortran, bytes or list)`; objects come as a list."""
    if not isinstance(target.callee, Global) or not target.callee.path.endswith(_MAKERS):
        return "a numpy.ndarray that already holds items is given others"
    if not isinstance(state, Seq) or len(state.items) not in {4, 5, 7}:
        return "the state of a numpy.ndarray is not a tuple of five values"
    items = state.items if len(state.items) != 4 else [state.items[0], *state.items]
    masked = (
        match.matches_one("bytes", items[5]) and match.matches_one("data", items[6])
        if len(items) == 7
        else True
    )
    if not masked:  # numpy.ma adds the mask and the fill value
        return "the mask of a masked array is not given as bytes"
    shape, inner, raw = shape_of(match, items[1]), layout(match, items[2]), items[4]
    if shape is None or inner is None:
        return "the shape or the dtype in the state of a numpy.ndarray cannot be determined"
    if inner.objects:
        listed = isinstance(raw, Seq) and raw.kind == "list"
        return None if listed else "an array of objects is not given as a list"
    return None if match.matches_one("bytes|str", raw) else "the data of an array is not given as bytes"


def check_dict(match: Matcher, target: Obj, state: Value) -> str | None:
    """Attributes: a dictionary, or a pair (dictionary or None, slots), with plain string keys."""
    parts = [state]
    if isinstance(state, Seq) and state.kind == "tuple" and len(state.items) == 2:
        parts = [state.items[0]]
        slots, known = state.items[1], target.entry.slots if target.entry is not None else ()
        if not isinstance(slots, Map) or any(match.text(key) not in known for key in slots.keys):
            return "the state sets attributes through setattr, behind which properties may call"
    for part in parts:
        if match.scalar(part) is None:
            continue
        if not isinstance(part, Map):
            return "the state is not a dictionary"
        if not part.whole:
            return "the state has too many attributes to check"
        if problem := _names(match, target, part):
            return problem
    return None


def _names(match: Matcher, target: Obj, state: Map) -> str | None:
    items = target.entry.items if target.entry is not None else ""
    for key, value in zip(state.keys, state.values, strict=False):
        name = match.text(key)
        if name in _OWN_NAMES or (name in _INERT_NAMES and isinstance(value, int)):
            continue
        if name is None or (name.startswith("__") and name.endswith("__")):
            return f"the state sets {name or 'an attribute whose name is no string'}, which may be called"
        if items and name in {"append", "extend", "add", "update"}:
            return f"the state replaces the method {name}, which item opcodes call"
    return None


def _fields(match: Matcher, state: Value) -> dict[str, Value]:
    if not isinstance(state, Map):
        return {}
    pairs = zip((match.text(key) for key in state.keys), state.values, strict=False)
    return {name: value for name, value in pairs if name is not None}


def check_fields(match: Matcher, target: Obj, state: Value) -> str | None:
    """A `__setstate__` that reads a dictionary and may call methods of its values: all of them are data."""
    if problem := check_dict(match, target, state):
        return problem
    return None if match.matches_one("@dict", state) else "the state is not a dictionary of data"


def check_estimator(match: Matcher, target: Obj, state: Value) -> str | None:
    """The `_sklearn_version`, which scikit-learn compares with its own, must be text."""
    if isinstance(state, Seq):
        return "the state of an estimator is not a dictionary"
    version = _fields(match, state).get("_sklearn_version")
    if version is not None and not match.matches_one("str|none", version):
        return "the version in the state of an estimator is not text"
    return check_dict(match, target, state)


def check_isotonic(match: Matcher, target: Obj, state: Value) -> str | None:
    """`IsotonicRegression.__setstate__` calls its own `_build_f` with two of its attributes."""
    fields = _fields(match, state)
    if "_build_f" in fields:
        return "the state replaces the method _build_f, which is called at once"
    given = [
        value for name, value in fields.items() if name in {"X_thresholds_", "y_thresholds_", "out_of_bounds"}
    ]
    if not all(match.matches_one("data", value) for value in given):
        return "the thresholds in the state are not data"
    return check_estimator(match, target, state)


def check_module(match: Matcher, target: Obj, state: Value) -> str | None:
    """`torch.nn.Module.__setstate__` sets attributes, which looks names up and may call `register_*`."""
    if isinstance(state, Seq):
        return "the state of a module is not a dictionary"
    for name, value in _fields(match, state).items():
        if name.startswith("register_") or name in {"all_weights", "add_module"}:
            return f"the state replaces {name}, which setting an attribute calls"
        if (name in _RNN or name.startswith(("_flat_weight", "_all_weights"))) and not match.matches_one(
            "data", value
        ):
            return f"{name} in the state is not data"
        if name in _CONTAINERS and not _container(value):
            return f"{name} in the state is not a plain container"
    return check_dict(match, target, state)


def check_metric(match: Matcher, target: Obj, state: Value) -> str | None:
    """`torchmetrics.Metric.__setstate__` asks for the signature of its own `update`, and wraps it."""
    if replaced := _METRIC & _fields(match, state).keys():
        return f"the state replaces {min(replaced)}, which is looked at and wrapped at once"
    return check_module(match, target, state)


def _container(value: Value) -> bool:
    if isinstance(value, Obj):
        return value.tag in {"collections.OrderedDict", "builtins.set"} and not value.loose
    return isinstance(value, Map | Seq)


def check_hook(match: Matcher, target: Obj, state: Value) -> str | None:
    """`torch.nn.modules.module._WrappedHook.__setstate__` reads a dictionary and makes a weak reference."""
    return check_dict(match, target, state) if isinstance(state, Map) else "the state is not a dictionary"


def check_plain(match: Matcher, target: Obj, state: Value) -> str | None:
    """A native `__setstate__` that takes constants and containers of constants only."""
    del target
    return (
        None
        if match.plain(state) or match.matches_one("bytes", state)
        else "the state holds more than plain data"
    )


def check_data(match: Matcher, target: Obj, state: Value) -> str | None:
    """A `__setstate__` that takes data: constants, containers and instances, but no callable."""
    del target
    return None if match.matches_one("data", state) else "the state is not data"


def check_packed(match: Matcher, target: Obj, state: Value) -> str | None:
    """`torch.ScriptObject.__setstate__` makes the native class that the text names: only packed weights.

    Source: torch/csrc/jit/python/script_init.cpp, 2.13: `(state, qualified name)`.
    """
    del target
    items = state.items if isinstance(state, Seq) else []
    if len(items) == 2 and match.text(items[1]) in _PACKED and match.matches_one("data", items[0]):
        return None
    return "the state of a script object is not that of packed weights"


def check_bits(match: Matcher, target: Obj, state: Value) -> str | None:
    """The state of a random generator: data, and positions that lie inside its buffer."""
    if problem := check_data(match, target, state):
        return problem
    todo: list[Value] = [state]
    for _ in range(64):
        if not todo:
            return None
        part = todo.pop()
        if isinstance(part, Inert):
            break
        for name, value in _fields(match, part).items():
            found = match.integer(value)
            if name in _BITS and (found is None or not 0 <= found <= _BITS[name]):
                return f"{name} lies outside the buffer of the generator"
        todo += [item for item in children(part) if isinstance(item, Seq | Map | Inert)]
    return "the state of a random generator is nested too deeply"


def check_tree(match: Matcher, target: Obj, state: Value) -> str | None:
    """`sklearn.tree._tree.Tree.__setstate__` copies two arrays; it has no more nodes than the first holds."""
    if problem := check_fields(match, target, state):
        return problem
    fields = _fields(match, state)
    if not all(
        match.matches_one("#numpy.ndarray", fields.get(name, _ABSENT)) for name in ("nodes", "values")
    ):
        return "the nodes or values of a tree are not arrays"
    return None


def check_distribution(match: Matcher, target: Obj, state: Value) -> str | None:
    """`rv_generic.__setstate__` runs `_parse_arg_template` as source: only the text that scipy writes."""
    if problem := check_dict(match, target, state):
        return problem
    fields = _fields(match, state)
    for name, value in fields.items():
        vector = name in _VECTORS and isinstance(value, Obj) and value.tag.rpartition(".")[2] == "vectorize"
        if not vector and not match.matches_one("data", value):
            return f"{name} in the state of a distribution is not data"
    text = match.text(fields.get("_parse_arg_template", _ABSENT))
    if text is None or _TEMPLATE.fullmatch(text) is None:
        return "the state of a distribution holds source text that scipy does not write, and loading runs it"
    return None


def check_spec(match: Matcher, target: Obj, state: Value) -> str | None:
    """`statsmodels.base.data.ModelData.__setstate__` evaluates the source text of a formula, if told to."""
    if "restore_model_spec" in _fields(match, state):
        return "loading evaluates the text of its formula, in which any function may be called"
    return check_dict(match, target, state)


def check_config(match: Matcher, target: Obj, state: Value) -> str | None:
    """`BaseContainer.__setstate__` of omegaconf sets attributes of its metadata: it must be that."""
    kinds = "#omegaconf.base.ContainerMetadata|#omegaconf.base.Metadata"
    if not isinstance(state, Map) or not match.matches_one(
        kinds, _fields(match, state).get("_metadata", _ABSENT)
    ):
        return "the metadata of a configuration is not omegaconf's"
    return check_dict(match, target, state)


def check_geometry(match: Matcher, target: Obj, state: Value) -> str | None:
    """A coordinate system is parsed by pyproj, and other texts than a number could name a file."""
    for name, value in _fields(match, state).items():
        if name in _SYSTEMS and not match.matches_one("none|@crs|#pyproj.crs.crs.CRS", value):
            return f"{name} is not the number of a coordinate system"
    return check_fields(match, target, state)


def check_handle(match: Matcher, target: Obj, state: Value) -> str | None:
    """`torch.utils.hooks.RemovableHandle.__setstate__` takes dictionaries, and a number to compare."""
    del target
    tables = "none|dict|#collections.OrderedDict"
    items = state.items if isinstance(state, Seq) else []
    more = items[2] if len(items) == 3 else None
    known = more is None or (
        isinstance(more, Seq) and all(match.matches_one(tables, item) for item in more.items)
    )
    if (
        len(items) in {2, 3}
        and known
        and match.matches((("none|dict|#collections.OrderedDict", "int"),), items[:2])
    ):
        return None
    return "the state of a hook's handle is not a number and dictionaries"


def check_partial(match: Matcher, target: Obj, state: Value) -> str | None:
    """`functools.partial.__setstate__` stores `(func, args, keywords, attributes)`; it calls nothing."""
    items = state.items if isinstance(state, Seq) else []
    if len(items) != 4 or not match.matches(
        (("pure|value|class|function", "tuple", "dict|none", "none|dict"),), items
    ):
        return "the state of a partial is not a function without effects and data"
    return check_dict(match, target, items[3])


def check_wrapper(match: Matcher, target: Obj, state: Value) -> str | None:
    """Joblib calls methods of the wrapper as soon as it has its state: only the six attributes it writes."""
    del target
    if not isinstance(state, Map) or not state.whole:
        return "the state of an array wrapper is not a dictionary"
    for key, value in zip(state.keys, state.values, strict=True):
        name = match.text(key)
        if name not in _WRAPPER or not match.matches_one(_WRAPPER[name], value):
            return f"the state of an array wrapper sets {name} to something joblib does not write"
    return None


CHECKS: Final[dict[str, Check]] = {
    "dict": check_dict,
    "fields": check_fields,
    "estimator": check_estimator,
    "isotonic": check_isotonic,
    "module": check_module,
    "metric": check_metric,
    "hook": check_hook,
    "plain": check_plain,
    "data": check_data,
    "packed": check_packed,
    "bits": check_bits,
    "tree": check_tree,
    "distribution": check_distribution,
    "spec": check_spec,
    "config": check_config,
    "geometry": check_geometry,
    "handle": check_handle,
    "partial": check_partial,
    "wrapper": check_wrapper,
    **TABLES,
    "dtype": check_dtype,
    "ndarray": check_array,
}
LOOSE: Final = frozenset(
    {
        "dict",
        "estimator",
        "isotonic",
        "module",
        "metric",
        "hook",
        "partial",
        "spec",
        "config",
        "distribution",
        "itself",
        "similarity",
    }
)
"""Checks that accept callables among the attributes."""
