"""skops: a zip archive whose schema.json is a tree of nodes, each of which says what loading makes of it.

A node is judged by what its loader does with the name it carries: a `FunctionNode` looks it up, a `ListNode`
calls it with a list, an `ObjectNode` makes an instance without calling `__init__`. Names are compared with
the allow-list of the pickle machine. Arrays are members, which numpy loads without pickles.

Source: skops/io/_general.py, _numpy.py, _scipy.py, _sklearn.py, _quantile_forest.py and old/ (protocols 0
to 2), skops 0.16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from modelward.artifact.pickle import rules
from modelward.artifact.reading import Malformed
from modelward.artifact.zipread import Archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

    Node: TypeAlias = dict[str, object]

SCHEMA: Final = 512 << 20
_PRIMITIVES: Final = frozenset(
    f"builtins.{name}" for name in ("str", "int", "float", "bool", "bytes", "NoneType", "complex")
)
_CONTAINERS: Final = {
    "DictNode": {"builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"},
    "ListNode": {"builtins.list"},
    "SetNode": {"builtins.set", "builtins.frozenset"},
    "TupleNode": {"builtins.tuple"},
    "RandomStateNode": {"numpy.random.mtrand.RandomState", "numpy.random.RandomState"},
    "RandomGeneratorNode": {"numpy.random._generator.Generator", "numpy.random.Generator"},
}
"""Loader -> the names that it calls in files that skops wrote."""
_IGNORED: Final = frozenset(
    {
        "JsonNode", "BytesNode", "BytearrayNode", "SliceNode", "DefaultDictNode", "MaskedArrayNode",
        "DTypeNode",
        "SparseMatrixNode", "TreeNode", "QuantileForestNode", "_DictWithDeprecatedKeysNode", "PartialNode",
        "CachedNode",
    }
)  # fmt: skip
"""Loaders that make one thing whatever name they carry; what they hold is judged by itself."""
_GENERATORS: Final = frozenset({"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"})
_OPERATORS: Final = frozenset({"attrgetter", "itemgetter", "methodcaller"})
_LOSS_MODULES: Final = frozenset({"_loss", "sklearn._loss._loss", "sklearn.linear_model._sgd_fast"})
_LOSSES: Final = frozenset(
    {
        "EpsilonInsensitive", "Hinge", "ModifiedHuber", "SquaredEpsilonInsensitive", "SquaredHinge", "Huber",
        "Log", "SquaredLoss", "CyAbsoluteError", "CyExponentialLoss", "CyHalfBinomialLoss", "CyHalfGammaLoss",
        "CyHalfMultinomialLoss", "CyHalfPoissonLoss", "CyHalfSquaredError", "CyHalfTweedieLoss",
        "CyHalfTweedieLossIdentity", "CyHuberLoss", "CyPinballLoss",
    }
)  # fmt: skip
_CONSTRUCTED: Final = frozenset({"datetime", "zoneinfo", "decimal", "fractions", "uuid", "pandas"})
"""Modules (or packages) whose allow-listed classes do no more than hold what they are constructed from."""
_LIBRARIES: Final = frozenset({"sklearn", "numpy", "scipy"})
"""Packages whose functions may be kept as values: importing them is what loading does anyway."""
_FILES: Final = frozenset({"BytesNode", "BytearrayNode", "NdArrayNode", "SparseMatrixNode"})


def read(data: Buffer, into: Reading) -> None:
    """Judge every node of schema.json."""
    from modelward.artifact.zips import content

    archive = Archive(data)
    names = {member.name for member in archive.members}
    schemas = [member for member in archive.members if member.name == "schema.json"]
    if not schemas:
        raise Malformed("there is no schema.json")
    for member in schemas:  # readers differ in which of two members of one name they take
        raw = content(archive, member, SCHEMA)
        if raw is None:
            raise Malformed("schema.json cannot be decompressed")
        try:
            tree = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"schema.json cannot be read: {error}") from error
        if not isinstance(tree, dict):
            raise Malformed("schema.json holds no object")
        _tree(into, tree, names)
    into.proven = True


def _tree(into: Reading, tree: Node, names: set[str]) -> None:
    protocol = tree.get("protocol")
    if protocol is not None and (type(protocol) is not int or not 0 <= protocol <= 2):
        into.unproven("skops.protocol", f"protocol {str(protocol)[:40]!r} is not 0, 1 or 2, the known ones")
    into.facts["framework"] = "scikit-learn"
    into.facts["producer"] = f"skops {tree.get('_skops_version')}"[:200]
    if isinstance(protocol, int):
        into.facts["format_version"] = str(protocol)[:40]
    said: set[str] = set()
    stack: list[object] = [tree]
    while stack:
        node = stack.pop()
        into.spend()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            stack += node.values()
            if "__loader__" in node or "__module__" in node:
                _node(into, node, said)
                if str(node.get("__loader__")) in _FILES and isinstance(node.get("file"), str):
                    _file(into, str(node["file"]), names, said)


def _file(into: Reading, name: str, names: set[str], said: set[str]) -> None:
    if name not in names and f"file {name}" not in said:
        said.add(f"file {name}")
        into.note("skops.missing", f"the member {name[:200]!r} that a node refers to is not in the archive")


def _node(into: Reading, node: Node, said: set[str]) -> None:
    loader, module, name = (str(node.get(key, "")) for key in ("__loader__", "__module__", "__class__"))
    if loader == "FunctionNode" and isinstance(held := node.get("content"), dict):  # protocol 0
        module, name = str(held.get("module_path", module)), str(held.get("function", name))
    path = f"{module}.{name}"
    key = f"{loader} {path}"
    special = _SPECIAL.get(loader)
    if key in said and special is None:
        return
    said.add(key)
    if _danger(into, loader, module, name):
        return
    if special is not None:
        special(into, node, path)
        return
    if loader in _IGNORED or path in _CONTAINERS.get(loader, ()):
        return
    if loader == "ObjectNode" and path in _TREES:
        return
    if loader == "LossNode" and module in _LOSS_MODULES and name in _LOSSES:
        return
    if loader == "TypeNode" and path in _PRIMITIVES | {"builtins.map", "builtins.NoneType"}:
        return
    entry = rules.find(module, name)
    if entry is not None and (_known(loader, entry.kind, module) or (loader == "TupleNode" and entry.new)):
        return
    if (
        loader in {"FunctionNode", "TypeNode"}
        and module.split(".", 1)[0] in _LIBRARIES
        and name.isidentifier()
    ):
        into.note("skops.reference", f"{path[:200]} is kept as a value; loading does not call it")
        return
    message = f"a {loader[:60]} names {path[:200]}, which is not on the allow-list for it"
    into.unproven("skops.unknown-name", message, call=f"{loader}: {path}"[:300])


def _known(loader: str, kind: str, module: str) -> bool:
    if loader in {"FunctionNode", "TypeNode"}:
        return True
    if loader == "ConstructorFromReduceNode":
        return module.split(".", 1)[0] in _CONSTRUCTED
    if loader == "NdArrayNode":
        return kind == "class" and module.split(".", 1)[0] == "numpy"
    return loader == "ObjectNode" and kind in {"class", "enum"}


_TREES: Final = frozenset({"sklearn.neighbors._kd_tree.KDTree", "sklearn.neighbors._ball_tree.BallTree"})
"""Made without arguments and given arrays, as the pickle allow-list has it through their own function."""


def _danger(into: Reading, loader: str, module: str, name: str) -> bool:
    """A name that is a payload or a gadget; owners of methods are judged as the objects that they are."""
    why = None
    if rules.find(module, name) is None and f"{module}.{name}" not in _PRIMITIVES and loader != "JsonNode":
        why = rules.payload(module, name) or rules.gadget(module, name)
    if why is None or (module == "builtins" and name in {"function", "method", "map"}):
        return False
    path = f"{module}.{name}"[:200]
    into.dangerous("skops.payload", f"{path} {why}", call=f"{loader}: {path}"[:300])
    return True


def _method(into: Reading, node: Node, path: str) -> None:
    """`getattr(object, name)`, kept as a bound method."""
    held = node.get("content")
    func = str(held.get("func", "")) if isinstance(held, dict) else ""
    module, _, name = path.rpartition(".")
    known = rules.dangers()
    why = rules.payload(module, f"{name}.{func}") or rules.gadget(module, f"{name}.{func}")
    if why is not None or func in known.segments or (func.startswith("__") and func.endswith("__")):
        message = f"the method {func[:100]!r} of {path[:200]} {why or 'leads from any object to code'}"
        into.dangerous("skops.payload", message, call=f"MethodNode: {path}.{func}"[:300])
    elif (
        module.split(".", 1)[0] not in _LIBRARIES
        or rules.find(module, name) is None
        or not func.isidentifier()
        or func.startswith("_")
    ):
        into.unproven("skops.unknown-name", f"the method {func[:100]!r} of {path[:200]} is not known")


def _operator(into: Reading, node: Node, path: str) -> None:
    """`operator.<name>(*attrs)` is called while the file is loaded."""
    if not path.startswith("operator.") or path[9:] not in _OPERATORS:
        message = f"{path[:200]} is called with arguments of the file; skops writes attrgetter and its like"
        into.dangerous("skops.payload", message, call=f"OperatorFuncNode: {path}"[:300])
        return
    known = rules.dangers()
    stack: list[object] = [node.get("attrs")]
    while stack:
        item = stack.pop()
        into.spend()
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, str) and any(
            word in known.segments or word in known.callables or word.startswith("__")
            for word in item.strip('"').split(".")
        ):
            into.dangerous(
                "skops.payload", f"{path} of {item[:100]} leads to code", call=f"{path}({item[:100]})"
            )


def _generator(into: Reading, node: Node, path: str) -> None:
    """The name of the bit generator is looked up in numpy.random and called (CVE-like hole before 0.14)."""
    if path not in _CONTAINERS["RandomGeneratorNode"]:
        into.unproven("skops.unknown-name", f"a RandomGeneratorNode calls {path[:200]}")
    held = node.get("content")
    state = held.get("bit_generator", held) if isinstance(held, dict) else None
    inner = state.get("content", state) if isinstance(state, dict) else None
    name = inner.get("bit_generator") if isinstance(inner, dict) else None
    text = name.get("content") if isinstance(name, dict) else name
    if str(text).strip('"') not in _GENERATORS:
        message = f"numpy.random.{str(text)[:100]} is called while the file is loaded; it is no bit generator"
        into.dangerous("skops.payload", message, call=f"numpy.random.{str(text)[:100]}(...)")


def _dict(into: Reading, node: Node, path: str) -> None:
    """A dictionary calls each type among its `key_types` with a key of the file."""
    module, _, name = path.rpartition(".")
    entry = rules.find(module, name)
    if path not in _CONTAINERS["DictNode"] and (entry is None or entry.items != "dict"):
        into.unproven("skops.unknown-name", f"a DictNode calls {path[:200]}")
    types = node.get("key_types")
    listed = types.get("content") if isinstance(types, dict) else None
    if types is not None and not isinstance(listed, list):
        into.unproven("skops.key-type", f"the types of the keys of a {path[:200]} are not listed with it")
    for item in listed if isinstance(listed, list) else ():
        into.spend()
        node_of = item if isinstance(item, dict) else {}
        named = f"{node_of.get('__module__')}.{node_of.get('__class__')}"
        found = rules.find("numpy", named[6:]) if named.startswith("numpy.") else None
        scalar = named in _PRIMITIVES or (found is not None and found.kind == "class")
        if scalar and node_of.get("__loader__") in {"TypeNode", "CachedNode"}:
            continue
        into.unproven("skops.key-type", f"{named[:200]} is called with each key of a dictionary")


_SPECIAL: Final[dict[str, Callable[[Reading, Node, str], None]]] = {
    "MethodNode": _method,
    "OperatorFuncNode": _operator,
    "RandomGeneratorNode": _generator,
    "DictNode": _dict,
}
