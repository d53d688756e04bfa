"""TorchScript: sources of its own language under `code/`, attributes as pickles that torch's C++ code reads.

`torch.jit.load` compiles the sources and sets the attributes; of the methods it runs `__setstate__` alone.
The language has no imports and no Python: what it can do beyond computing on tensors is what operators do,
so each operator that a source names is judged, first those that a `__setstate__` reaches. The pickles are
walked with the rest of the archive.

Source: torch/csrc/jit/serialization/import.cpp, import_source.cpp, unpickler.cpp; torch/csrc/jit/mobile
(bytecode.pkl), PyTorch 2.13.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats import torch_ops
from modelward.artifact.zipread import Archive

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_SOURCE: Final = 64 << 20
"""Largest source read, in bytes."""
_TEXTS: Final = re.compile(
    r"(?P<quote>\"\"\"|\'\'\')(?:[^\\]|\\.)*?(?P=quote)|(?P<mark>[\"\'])(?:(?!(?P=mark))[^\\\n]|\\.)*(?P=mark)"
    r"|#(?! type:)[^\n]*",
    re.DOTALL,
)
"""Texts and comments, as lexer.h delimits them."""
_GETATTR: Final = re.compile(r"(?<![\w.])getattr\s*\(([\w.()\s]{1,300}?),\s*[\"'](\w+)[\"']\s*\)")
_SPACED: Final = re.compile(r"(?<![\w.])([A-Za-z_]\w*|[)\]])\s*\.\s*(?=[A-Za-z_])")
_WRAPPED: Final = re.compile(r"(?<![\w)\]])\(\s*((?:torch|ops)(?:\.\w+)*)\s*\)")
_OPERATOR: Final = re.compile(r"(?<![\w.])(?:torch\.ops|ops)\.(\w+)\.(\w+)|(?<![\w.])torch\.(?!ops\b)(\w+)")
_UNNAMED: Final = re.compile(r"(?<![\w.])(?:getattr|(?:torch\.)?ops(?!\.\w+\.\w)|torch(?!\.\w))(?!\w)")
"""A name is looked up, or a namespace is passed on: which operator it comes to is not written there."""
_METHOD: Final = re.compile(
    r"(?<=[\w)\]])(?:(?<!\bself)\.(save|from_file|_save)\b|\.(save|from_file|_save)\s*\()"
)
"""A method of any value, called or kept; an attribute of the module itself may have such a name."""
_CLASS: Final = re.compile(r"(?<![\w.])__torch__\.torch\.classes\.(\w+)\.(\w+)")
_DEF: Final = re.compile(r"^([ \t]*)def\s+(\w+)\s*\(", re.MULTILINE)
_IMPORT: Final = re.compile(r"^[ \t]*(?:import|from)[ \t]+(?!__torch__)([\w.]+)", re.MULTILINE)
_CALL: Final = re.compile(r"\.(\w+)\b")
_PYTHON: Final = re.compile(
    r"(?<![\w.])(?:os|sys|subprocess|builtins|importlib|socket|shutil|ctypes|pickle)\.[A-Za-z_]\w*\s*\("
    r"|(?<![\w.])(?:eval|exec|__import__|compile)\s*\("
)
_TEXT: Final = re.compile(rb"X([\x05-\xc8])\0\0\0", re.DOTALL)
"""BINUNICODE, as torch's pickler writes every text, with its length."""
_NAMED: Final = re.compile(r"[A-Za-z_]\w*::[A-Za-z_][\w.]*")


def read(data: Buffer, into: Reading) -> None:
    """Judge the operators of every source."""
    from modelward.artifact.zips import content

    archive = Archive(data)
    functions: list[tuple[str, str, str]] = []
    operators: set[str] = set()
    for member in archive.members:
        into.spend()
        name = member.name
        lower = name.lower()
        if lower.endswith(".py") and "code/" in lower:
            raw = content(archive, member, _SOURCE)
            if raw is None:
                into.missed(f"the source {name[:200]!r} cannot be read")
                continue
            functions += _functions(into, name, raw.decode("utf-8", "backslashreplace"))
        elif lower.endswith("bytecode.pkl"):
            raw = content(archive, member, _SOURCE)
            if raw is None:
                into.missed(f"{name[:200]!r} cannot be read")
                continue
            _bytecode(into, name, raw, operators)
        elif lower.endswith("/model.json"):
            _legacy(into, name, content(archive, member, _SOURCE) or b"")
        elif name.rsplit("/", 1)[-1] == "version":
            raw = content(archive, member, 64) or b""
            into.facts["format_version"] = raw.decode("ascii", "replace").strip()[:40]
    _judge(into, functions, operators)
    into.facts["framework"] = "pytorch"
    into.facts["operators"] = [*sorted(operators)[:200]]
    into.proven = True


def _functions(into: Reading, member: str, text: str) -> list[tuple[str, str, str]]:
    """(member, name, body) of every function, and of what stands outside of all of them under the name ""."""
    into.spend(len(text) // 64 + 1)
    bare = _named(text)
    if found := _IMPORT.search(bare):
        message = f"{member}: the source imports {found[1][:100]}, which TorchScript cannot"
        into.unproven("torchscript.python", message)
    marks = list(_DEF.finditer(bare))
    made = [(member, "", bare[: marks[0].start()] if marks else bare)]
    ends = [mark.start() for mark in marks[1:]] + [len(bare)]
    made += [(member, mark[2], bare[mark.start() : end]) for mark, end in zip(marks, ends, strict=False)]
    return made


def _named(text: str) -> str:
    """The source without texts and comments, and with each operator written as `torch.x` or `ops.x.y`."""
    for pattern, plain in ((_GETATTR, r"(\1).\2"), (_TEXTS, '""')):
        count = 1
        while count:
            text, count = pattern.subn(plain, text)
            if pattern is _TEXTS:
                break
    bare = text.replace("\\\n", " ")
    count = 1
    while count:
        bare, count = _WRAPPED.subn(r"\1", _SPACED.sub(r"\1.", bare))
    return bare


def _legacy(into: Reading, member: str, raw: bytes) -> None:
    """Archives of before 1.3 keep the model in JSON, which says where sources and attributes are."""
    if b"torchscript" in raw:
        into.unproven("torchscript.legacy", f"{member}: the model is described as PyTorch before 1.3 did")


def _judge(into: Reading, functions: list[tuple[str, str, str]], operators: set[str]) -> None:
    """Functions that `__setstate__` reaches run while the file is loaded, the others when they are called.

    Operators of a class (`a + b`) reach theirs without a name, and what parameters default to is computed
    when the function is compiled.
    """
    running = {"__setstate__", ""} | {name for _, name, _ in functions if name.startswith("__")}
    todo = [body for _, name, body in functions if name in running]
    bodies: dict[str, list[str]] = {}
    for _, name, body in functions:
        bodies.setdefault(name, []).append(body)
    while todo:
        body = todo.pop()
        into.spend(len(body) // 64 + 1)
        for called in {match[1] for match in _CALL.finditer(body)} - running:
            if called in bodies:
                running.add(called)
                todo += bodies[called]
    said: set[str] = set()
    for member, name, body in functions:
        into.spend(len(body) // 64 + 1)
        defaults, _, rest = body.partition(":\n")
        _body(into, member, defaults, (operators, said), loading=bool(name))
        _body(into, member, rest, (operators, said), loading=name in running and bool(name))


def _body(into: Reading, member: str, body: str, seen: tuple[set[str], set[str]], *, loading: bool) -> None:
    operators, said = seen
    found = [(match[1] or "aten", match[2] or match[3]) for match in _OPERATOR.finditer(body)]
    found += [("aten", match[1] or match[2]) for match in _METHOD.finditer(body)]
    for namespace, name in found:
        operator = f"{namespace}::{name}"
        operators.add(operator)
        _operator(into, member, operator, said, loading=loading)
    if (unnamed := _UNNAMED.search(body)) and "unnamed" not in said:
        said.add("unnamed")
        message = f"{member}: {unnamed[0]} is used in a way that does not tell which operator it comes to"
        into.unproven("torchscript.computed-name", message)
    for match in _CLASS.finditer(body):
        if match[1] not in torch_ops.CLASSES and match[1] not in said:
            said.add(match[1])
            message = (
                f"{member}: the class torch.classes.{match[1]}.{match[2]} comes with a library of its own"
            )
            into.unproven("torchscript.class", message)
    if (python := _PYTHON.search(body)) and "python" not in said:
        said.add("python")
        message = f"{member}: the source names {python[0][:60]!r}, which is Python and no TorchScript"
        level = into.dangerous if loading else into.unproven
        level("torchscript.python", message)


def _operator(into: Reading, member: str, operator: str, said: set[str], *, loading: bool) -> None:
    namespace, name = operator.split("::", 1)
    judged = torch_ops.judge(namespace, name)
    key = f"{operator} {loading}"
    if judged is None or key in said:
        return
    said.add(key)
    reaches, why = judged
    if reaches and loading:
        into.dangerous(
            "torchscript.operator", f"{member}: {operator} {why} while the file is loaded", call=operator
        )
    elif reaches:
        into.unproven(
            "torchscript.operator", f"{member}: {operator} {why} when the model is run", call=operator
        )
    else:
        into.unproven("torchscript.unknown-operator", f"{member}: {operator} {why}", call=operator)


def _bytecode(into: Reading, member: str, raw: bytes, operators: set[str]) -> None:
    """Operators that the code for mobile devices names, as texts `namespace::name`."""
    said: set[str] = set()
    named = {name for name in torch_ops.REACHING if name.encode() in raw}
    for match in _TEXT.finditer(raw):
        into.spend()
        text = raw[match.end() : match.end() + match[1][0]].decode("utf-8", "backslashreplace")
        if _NAMED.fullmatch(text):
            named.add(text)
    for operator in sorted(named):
        if operator not in operators:
            operators.add(operator)
            _operator(into, member, operator, said, loading=False)
