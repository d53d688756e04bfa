"""torch.export: a graph as JSON, weights, and what else an archive of this kind may bring (native code).

Loading resolves the target of each node (`torch.…`, `math.…`, `_operator.…` by attributes), hands each
symbolic expression to `sympy.sympify`, which evaluates it as Python, and unpickles what a configuration says
is pickled. AOTInductor packages hold native code that is loaded as a library.

Source: torch/_export/serde/serialize.py and schema.py, torch/export/pt2_archive/_package.py,
torch/export/__init__.py (the layout of before 2.9), PyTorch 2.13.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.formats import torch_ops
from modelward.artifact.pickle import rules
from modelward.artifact.reading import Inner
from modelward.artifact.zipread import Archive

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.artifact.zipread import Member

_GRAPH: Final = 256 << 20
_PICKLED: Final = 1 << 30
_NATIVE: Final = (
    ".so",
    ".dll",
    ".dylib",
    ".pyd",
    ".o",
    ".a",
    ".cpp",
    ".cu",
    ".cubin",
    ".hsaco",
    ".fatbin",
    ".spv",
)
_MAGICS: Final = (b"\x7fELF", b"MZ\x90", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_ARITHMETIC: Final = frozenset(
    {
        "eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "abs", "mul", "add", "sub", "floordiv", "mod",
        "pow", "truediv", "and_", "or_", "xor", "not_", "invert", "lshift", "rshift", "getitem",
        "index", "matmul",
        "is_", "is_not", "contains", "iadd", "isub", "imul",
    }
)  # fmt: skip
_MATH: Final = frozenset(
    {
        "trunc", "floor", "ceil", "sqrt", "exp", "log", "log2", "sin", "cos", "tan", "pow", "asin", "acos",
        "atan", "sinh", "cosh", "tanh", "fabs", "isnan", "isinf", "gcd", "lcm", "prod", "fmod", "remainder",
    }
)  # fmt: skip
_TORCH: Final = re.compile(r"torch\.(?:_?sym_\w+|_check\w*|sym_\w+)|torch\._C\._functorch\.\w+")
_LAYERS: Final = re.compile(r"torch\.(?:amp\.autocast_mode\._(?:enter|exit)_autocast|_C\._set_grad_enabled)")
_FUNCTIONS: Final = frozenset(
    {
        "FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt",
        "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "TruncToInt",
        "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "RoundToInt", "RoundDecimal", "ToFloat",
        "Identity", "Max", "Min", "And", "Or", "Not", "Xor", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Integer",
        "Symbol", "Dummy", "Piecewise", "Rational", "Float", "Mul", "Add", "Pow", "Abs", "sqrt", "log", "exp",
        "floor", "ceiling", "Equality", "Unequality", "LessThan", "StrictLessThan", "GreaterThan", "sign",
        "StrictGreaterThan", "Relational", "ExprCondPair", "OpaqueUnaryFn_sqrt", "OpaqueUnaryFn_exp",
        "OpaqueUnaryFn_log", "OpaqueUnaryFn_log2", "OpaqueUnaryFn_sin", "OpaqueUnaryFn_cos",
        "BitwiseFn_bitwise_and",
        "BitwiseFn_bitwise_or", "BitwiseFn_bitwise_xor", "PythonMax", "PythonMin", "Heaviside", "Half",
        "Tuple",
        "conjugate", "sin", "cos", "tan", "tanh", "log2",
    }
)  # fmt: skip
"""Functions that printing an expression of torch (`sympy.srepr`) writes."""
_PLAIN: Final = re.compile(r"[\w\s+\-*/(),.<>=!&|~%:]*")
_WORD: Final = re.compile(r"(?<![\w.])([A-Za-z_]\w*)(\s*\()?")
_CONSTANT: Final = re.compile(r"'[A-Za-z_]\w{0,60}'")
_ATTRIBUTE: Final = re.compile(r"[\w)\]]\s*\.\s*[A-Za-z_]")
_ACCESS: Final = re.compile(
    r"\[-?\w+\]|\.(?:size|stride|storage_offset|dim|numel|item)\(\d*\)|\.(?:shape|dtype|device|ndim)\b"
    r"|\bmath\.(?:isnan|inf|floor|ceil|trunc|sqrt)\b"
)
"""How guards reach what an input says of itself."""
_OBJECTS: Final = ("custom_obj", "opaque_obj")
_AT_OBJECT: Final = re.compile(r"(?:^|/)(?:custom_obj|opaque_obj)")
_CODE: Final = re.compile(
    r"__|\bimport\b|\beval\b|\bexec\b|\bopen\b|\blambda\b|\bsystem\b|\bpopen\b|\bgetattr\b|\bos\b"
)


def read(data: Buffer, into: Reading) -> None:
    """Judge graphs, expressions, pickled parts and native code."""
    from modelward.artifact.zips import content

    archive = Archive(data)
    pickled: set[str] = set()
    said: set[str] = set()
    for member in archive.members:
        into.spend()
        leaf = member.name.rsplit("/", 1)[-1]
        if leaf.lower().endswith(".json") or "models" in member.name.lower().split("/")[:-1][:2]:
            raw = content(archive, member, _GRAPH)
            tree = _decode(raw) if raw is not None else None
            if tree is None:
                into.missed(f"{member.name[:200]!r} cannot be read as JSON")
                continue
            _tree(into, tree, member.name, said, pickled)
        elif leaf in {"archive_version", "version"} and "data" not in member.name.split("/"):
            raw = content(archive, member, 64) or b""
            into.facts["format_version"] = raw.decode("ascii", "replace").strip()[:40]
        if leaf.lower().endswith(_NATIVE) or archive.peek(member, 4).startswith(_MAGICS):
            message = (
                f"{member.name[:200]!r} is native code or its source, which loading compiles or maps and runs"
            )
            into.unproven("torch-export.native", message)
    for member in archive.members:
        _pickled(into, archive, member, pickled)
    into.facts["framework"] = "pytorch"
    into.facts["operators"] = [*sorted(key[3:] for key in said if key.startswith("op "))[:200]]
    into.proven = True


def _decode(raw: bytes) -> object:
    try:
        found: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def _tree(into: Reading, tree: object, member: str, said: set[str], pickled: set[str]) -> None:
    stack = [tree]
    while stack:
        node = stack.pop()
        into.spend()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            stack += node.values()
            target = node.get("target")
            if isinstance(target, str) and isinstance(node.get("inputs"), list):
                _target(into, target, member, said)
            for key in ("expr_str", "expr"):
                if isinstance(node.get(key), str):
                    _expression(into, str(node[key]), member, said)
            guards = node.get("guards_code")
            for guard in guards if isinstance(guards, list) else ():
                _guard(into, str(guard), member, said)
            _imported(into, node, member, said)
            if isinstance(node.get("path_name"), str) and "use_pickle" in node:
                path = str(node["path_name"])
                if node["use_pickle"] or path.startswith(_OBJECTS):
                    pickled.add(path.lower())
        elif (
            isinstance(node, str) and node[:1] in {"[", "{"} and (inner := _decode(node.encode())) is not None
        ):
            stack.append(inner)  # specifications of trees are JSON in JSON


def _target(into: Reading, target: str, member: str, said: set[str]) -> None:
    if f"op {target}" in said:
        return
    said.add(f"op {target}")
    parts = target.split(".")
    if parts[:2] == ["torch", "ops"] and len(parts) >= 4:
        judged = torch_ops.judge(parts[2], parts[3])
        if judged is not None:
            rule = "torch-export.operator" if judged[0] else "torch-export.unknown-operator"
            into.unproven(
                rule, f"{member}: {target[:200]} {judged[1]} when the model is run", call=target[:200]
            )
        return
    if len(parts) == 2 and parts[0] in {"_operator", "operator"} and parts[1] in _ARITHMETIC:
        return
    if len(parts) == 2 and parts[0] == "math" and parts[1] in _MATH:
        return
    if _TORCH.fullmatch(target) or _LAYERS.fullmatch(target):
        return
    for count in range(1, len(parts)):
        module, name = ".".join(parts[:count]), ".".join(parts[count:])
        if why := rules.payload(module, name) or rules.gadget(module, name):
            message = f"{member}: a node of the graph calls {target[:200]}, which {why}"
            into.dangerous("torch-export.target", message, call=target[:200])
            return
    message = f"{member}: a node of the graph calls {target[:200]}, which is no known operator"
    into.unproven("torch-export.unknown-target", message, call=target[:200])


def _imported(into: Reading, node: dict[object, object], member: str, said: set[str]) -> None:
    """What the specification of a tree imports: the class of an enumeration, the factory of a dictionary."""
    if "__enum__" in node:
        path = str(node.get("fqn")).replace(":", ".")
    elif "default_factory_module" in node:
        path = f"{node['default_factory_module']}.{node.get('default_factory_name')}"
    else:
        return
    module, _, name = path.rpartition(".")
    if f"import {path}" in said or rules.find(module, name) is not None or path.startswith("torch."):
        return
    said.add(f"import {path}")
    message = f"{member}: the specification of a tree imports {path[:200]}"
    if why := rules.payload(module, name) or rules.gadget(module, name):
        into.dangerous("torch-export.import", f"{message}, which {why}", call=path[:200])
    else:
        into.unproven("torch-export.import", message, call=path[:200])


def _guard(into: Reading, text: str, member: str, said: set[str]) -> None:
    """A condition on the inputs, which `ExportedProgram.module` compiles as Python."""
    if f"guard {text}" in said:
        return
    said.add(f"guard {text}")
    bare = re.sub(r"'[^'\\\n]*'", "0", text)
    if _CODE.search(bare):
        message = f"{member}: a guard, which is compiled as Python, holds code"
        into.dangerous("torch-export.guard", message, call=text[:200])
        return
    plain = _ACCESS.sub("", bare)
    called = {match[1] for match in _WORD.finditer(plain) if match[2]}
    if not _PLAIN.fullmatch(plain) or _ATTRIBUTE.search(plain) or called - _FUNCTIONS:
        message = f"{member}: a guard, which is compiled as Python, is more than a comparison"
        into.unproven("torch-export.guard", message, call=text[:200])


def _expression(into: Reading, text: str, member: str, said: set[str]) -> None:
    """`sympy.sympify` evaluates the text as Python, with the names of sympy at hand."""
    if f"expr {text}" in said:
        return
    said.add(f"expr {text}")
    bare = _CONSTANT.sub("0", text)
    bare = re.sub(r"\b\w+\s*=\s*(?:True|False)", "0", bare)
    if _CODE.search(bare):
        message = f"{member}: a symbolic expression, which sympy evaluates as Python, holds code"
        into.dangerous("torch-export.expression", message, call=f"sympify({text[:200]!r})")
        return
    called = {match[1] for match in _WORD.finditer(bare) if match[2]}
    if not _PLAIN.fullmatch(bare) or _ATTRIBUTE.search(bare) or called - _FUNCTIONS:
        message = f"{member}: a symbolic expression, which sympy evaluates as Python, is more than arithmetic"
        into.unproven("torch-export.expression", message, call=f"sympify({text[:200]!r})")


def _pickled(into: Reading, archive: Archive, member: Member, pickled: set[str]) -> None:
    """Weights that the configuration says are pickled, and objects that are."""
    from modelward.artifact.zips import content

    path = member.name.lower()
    if not any(path.endswith(f"/{name}") for name in pickled) and not _AT_OBJECT.search(path):
        return
    raw = content(archive, member, _PICKLED)
    if raw is None:
        into.missed(f"{member.name[:200]!r} is unpickled and cannot be read")
    else:
        into.inner.append(Inner(member.name, raw, None if raw[:2] == b"PK" else "pickle"))
