"""The two frozen lists: what is allowed and how, and what is known to be a payload or a gadget.

Both are data files beside this module. `allowlist.json` is generated from real releases by
`tools/allowlist.py` and reviewed; `dangerous.json` is written by hand. A name is matched as a whole, module
and qualified name; nothing is imported to find out more about it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

_HERE: Final = Path(__file__).parent


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an allow-listed name may do while a file is loaded.

    Attributes:
        kind: `class` (may be instantiated without arguments and given a state), `function`, or `value`
            (may be referred to, never called).
        call: argument schemas, one of which a call must satisfy; None forbids calls. See `schema.matches`.
        new: argument schemas of `cls.__new__(cls, ...)`; None allows only an empty argument list.
        state: what BUILD may give an instance, once: a named check of `checks.CHECKS`, or `none`.
        items: which item opcodes an instance takes: `list`, `dict`, `set` or ""; `dict:names` stands for a
            class that makes attributes of its items, so that keys are ordinary names and values are data;
            `dict:attributes` for one whose values may be anything, since nothing calls them.
        returns: tag of the result; "" means the name's own path.
        pure: it may be called by other code at load time with any argument, without effect.
        slots: attributes of an instance that BUILD may set through setattr: no code stands behind them.
        named: `cls.__new__` also takes data by name.
        base: a class that the file builds may inherit from it: that runs only code that was read.
    """

    kind: str
    call: tuple[tuple[str, ...], ...] | None = None
    new: tuple[tuple[str, ...], ...] | None = None
    state: str = "none"
    items: str = ""
    returns: str = ""
    pure: bool = False
    slots: tuple[str, ...] = ()
    base: bool = False
    named: bool = False


class AllowList(msgspec.Struct, frozen=True):
    """The allow-list: module -> qualified name -> entry, and the releases it was generated from.

    The names of a module are decoded when the first of them is looked up: a file refers to few modules.
    """

    schema: str
    version: int
    libraries: dict[str, str | tuple[str, ...]]
    modules: dict[str, msgspec.Raw]


class DangerList(msgspec.Struct, frozen=True):
    """Known payloads and gadgets.

    Attributes:
        payload_modules: whole modules whose every name is a payload: module -> what it gives.
        payloads: module -> name -> what it does; a mere reference is dangerous.
        gadgets: module -> name -> what it does; dangerous when called outside an allow-listed schema.
        segments: attribute names that lead from any object to code execution.
        callables: names that execute code or commands in whatever module they are found.
        arguments: text inside a constant argument that is code, a command or a download.
    """

    schema: str
    payload_modules: dict[str, str]
    payloads: dict[str, dict[str, str]]
    gadgets: dict[str, dict[str, str]]
    segments: tuple[str, ...]
    callables: tuple[str, ...]
    arguments: tuple[str, ...]


class Gadgets(msgspec.Struct, frozen=True):
    """Callables through whose call source text, a program, a file or a connection is reached.

    Attributes:
        libraries: the releases whose sources `tools/dangerous.py` read.
        modules: module -> what it reaches -> names, separated by spaces; decoded per module.
    """

    schema: str
    libraries: tuple[str, ...]
    modules: dict[str, msgspec.Raw]


@lru_cache(maxsize=1)
def gadgets() -> Gadgets:
    """Read the generated list once, and only when a name that is not on the allow-list is called."""
    return msgspec.json.decode((_HERE / "gadgets.json").read_bytes(), type=Gadgets)


@lru_cache(maxsize=1)
def allowlist() -> AllowList:
    """Read the allow-list once."""
    return msgspec.json.decode((_HERE / "allowlist.json").read_bytes(), type=AllowList)


@lru_cache(maxsize=1)
def dangers() -> DangerList:
    """Read the list of payloads and gadgets once."""
    return msgspec.json.decode((_HERE / "dangerous.json").read_bytes(), type=DangerList)


@lru_cache(maxsize=1024)
def names(module: str) -> dict[str, Entry]:
    """Allow-list entries of a module by qualified name.

    A text instead of an entry stands for a reference (`value`), or for a class that takes a state of this
    kind and may be a base; after a minus, one that may not.
    """
    raw = allowlist().modules.get(module)
    if raw is None:
        return {}
    found = msgspec.json.decode(raw, type=dict[str, Entry | str])
    return {name: _written_out(entry) for name, entry in found.items()}


@lru_cache(maxsize=64)
def _shared(kind: str) -> Entry:
    if kind == "value":
        return Entry("value")
    return Entry("class", state=kind.removeprefix("-"), base=kind[0] != "-")


def _written_out(entry: Entry | str) -> Entry:
    return _shared(entry) if isinstance(entry, str) else entry


def find(module: str, name: str) -> Entry | None:
    """Allow-list entry of exactly this module and qualified name."""
    return names(module).get(name)


@lru_cache(maxsize=4096)
def payload(module: str, name: str) -> str | None:
    """What a name would do, if a mere reference to it is already dangerous.

    The module and each parent package are compared, then, since a dotted name walks through attributes,
    each attribute on the way: `collections` + `_sys.modules` reaches `sys`.

    Args:
        module: module the unpickler would import.
        name: qualified name it would look up.
    """
    known = dangers()
    if found := _listed(known, module, name):
        return found
    segments = name.split(".")
    if bad := next((part for part in segments if part in known.segments), None):
        return f"reaches {bad}, which leads from any object to code"
    for index, part in enumerate(segments):
        bare = part if part in known.payload_modules or part in known.payloads else part.lstrip("_")
        rest = ".".join(segments[index + 1 :])
        if rest and (found := _listed(known, bare, rest)):
            return f"reaches {bare}.{rest} through {module}: {found}"
        if not rest and index and bare in known.payload_modules:
            return f"reaches the module {bare} through {module}: {known.payload_modules[bare]}"
    return None


_MODULES: Final = frozenset(
    {
        "os",
        "posix",
        "nt",
        "subprocess",
        "pty",
        "ctypes",
        "importlib",
        "builtins",
        "__builtin__",
        "__builtins__",
        "runpy",
    }
)
"""Modules whose bare name inside an argument is no ordinary word."""


def names_payload(text: str) -> str | None:
    """The name that a text is, if an import or an attribute walk by it would reach a payload."""
    if text in _MODULES:
        return text
    module, dot, name = text.replace(":", ".").rpartition(".")
    if not dot or len(text) > 100 or not text.replace(".", "").replace(":", "").replace("_", "").isalnum():
        return None
    return text if _listed(dangers(), module, name) is not None else None


def _listed(known: DangerList, module: str, name: str) -> str | None:
    parents = module.split(".")
    for count in range(len(parents), 0, -1):
        if found := known.payload_modules.get(".".join(parents[:count])):
            return found
    names = known.payloads.get(module)
    if names is None:
        return None
    return names.get(name) or names.get(name.split(".", 1)[0])


@lru_cache(maxsize=4096)
def gadget(module: str, name: str) -> str | None:
    """What a call of this name outside its schema would do, if it is a known gadget, by hand or by analysis.

    Args:
        module: module the unpickler would import.
        name: qualified name it would look up.
    """
    known = dangers()
    names = known.gadgets.get(module, {})
    found = names.get(name) or names.get(name.split(".", 1)[0])
    if found:
        return found
    if raw := gadgets().modules.get(module):
        reasons = msgspec.json.decode(raw, type=dict[str, str])
        if why := next((why for why, names in reasons.items() if name in names.split(" ")), None):
            return f"{why} with its arguments"
    last = name.rsplit(".", 1)[-1]
    return f"{last} executes what it is given" if last in known.callables else None
