"""What each effect of a stream means: harmless, a payload, or unknown.

The machine calls one method per effect (import, call, instantiation, state, items, persistent id). A method
returns the symbolic result and records an event when the effect is not proven harmless.
"""

from __future__ import annotations

import _compat_pickle
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from modelward.artifact.events import Broken, Event, Level
from modelward.artifact.pickle import classes, closures, fetched, rules
from modelward.artifact.pickle.built import carries_function
from modelward.artifact.pickle.checks import CHECKS, LOOSE
from modelward.artifact.pickle.schema import Matcher
from modelward.artifact.pickle.special import SPECIAL
from modelward.artifact.pickle.values import Global, Map, Obj, Seq, call_text, children, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.pickle.rules import Entry
    from modelward.artifact.pickle.undo import Journal
    from modelward.artifact.pickle.values import Buffer, Value

Loader: TypeAlias = Literal["pickle", "torch", "torch-legacy"]

_RANK: Final[dict[Level, int]] = {"note": 0, "unproven": 1, "dangerous": 2}
EVENTS: Final = 200
"""Distinct events kept; further ones are counted."""
LONGEST: Final = 1000
"""Longest name to import, in characters; real ones have fewer than 200."""
_CONSUMERS: Final = frozenset(
    f"builtins.{name}"
    for name in ("list", "tuple", "set", "frozenset", "dict", "bytes", "bytearray", "all", "any")
) | {"collections.deque", "collections.Counter", "collections.OrderedDict"}
"""What runs through the iterator that it is given."""
INJECTED: Final = frozenset(
    f"__{name}__"
    for name in (
        "setstate", "class", "reduce", "reduce_ex", "getattr", "getattribute", "setattr", "call", "init",
        "new", "del", "dict", "bases", "code", "globals", "builtins", "getstate", "init_subclass", "set_name",
        "defaults", "closure", "get", "set", "iter",
        "next", "enter", "exit", "import", "loader", "spec", "path", "file",
    )
)  # fmt: skip
"""Attributes through which a state makes an object call something."""


@final
class Judge:
    """Judges the effects of all streams of one buffer.

    Attributes:
        events: what was not proven harmless, by rule and subject, in order of occurrence.
        dropped: how many distinct events were not kept.
        findings: how often an event was recorded.
        levels: levels of which an event was kept.
        embedded: byte strings that are given to torch.load while the stream is loaded.
        second_bytes: work spent on second readings of array bodies.
        trials: how many arguments were walked as pickles.
        journal: what a second reading changed, while there is one.
        jumps: plain data may be jumped over.
        inside: how many pickles this one is inside of.
    """

    __slots__ = (
        "_names",
        "data",
        "dropped",
        "embedded",
        "events",
        "findings",
        "inside",
        "journal",
        "jumps",
        "levels",
        "loader",
        "match",
        "second_bytes",
        "trials",
    )

    def __init__(self, data: Buffer, loader: Loader = "pickle", *, jumps: bool = True) -> None:
        self.data = data
        self.jumps = jumps
        self.loader = loader
        self.match = Matcher(data)
        self.events: dict[tuple[str, str], Event] = {}
        self.dropped = self.findings = 0
        self.second_bytes = self.inside = self.trials = 0
        self.levels: set[Level] = set()
        self.embedded: list[bytes] = []
        self.journal: Journal | None = None
        self._names: dict[tuple[str, str], tuple[Entry | None, str | None]] = {}

    def record(self, event: Event, subject: str = "") -> None:
        """Keep an event, once per rule and subject: the worst, or the one whose call is known."""
        self.findings += 1
        key = (event.rule, subject or event.message)
        known = self.events.get(key)
        if known is not None:
            worse = _RANK[event.level] > _RANK[known.level]
            if worse or (event.level == known.level and known.call is None and event.call is not None):
                event.times = known.times + 1
                self.events[key] = event
            else:
                known.times += 1
            self.levels.add(event.level)
        elif self._room(event.level):
            self.events[key] = event
            self.levels.add(event.level)
        else:
            self.dropped += 1

    def _room(self, level: Level) -> bool:
        """Whether one more event is kept; the first of each level always is, so that none is lost."""
        count = len(self.events)
        return count < EVENTS or level not in self.levels or (level == "dangerous" and count < 2 * EVENTS)

    # --- names ---------------------------------------------------------------------------------------------

    def name(self, module: str, name: str, pos: int, proto: int) -> Global:
        """An import: GLOBAL, STACK_GLOBAL or INST."""
        if len(module) + len(name) > LONGEST:
            message = (
                f"a name to import is {len(module) + len(name)} characters long, longer than any real one"
            )
            self.record(Event("pickle.payload", "dangerous", message, pos))
            return Global(module[:40] + "...", name[:40] + "...", pos, None, "hides its name")
        raw = (module, name)
        if module in _compat_pickle.IMPORT_MAPPING or raw in _compat_pickle.NAME_MAPPING:
            # Below protocol 3 the unpickler renames; above, the raw name exists on Python 2 only.
            module, name = _compat_pickle.NAME_MAPPING.get(
                raw, (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        known = self._names.get((module, name))
        if known is None:
            entry = rules.find(module, name)  # reviewed, so it wins over a list of whole modules
            danger = None if entry is not None else rules.payload(module, name) or rules.payload(*raw)
            known = self._names[module, name] = (entry, danger)
        entry, danger = known
        if entry is not None and "." in name and proto < 4:
            entry = None  # a dotted name is not walked below protocol 4; another attribute may carry the dot
        found = Global(module, name, pos, entry, danger)
        if danger is not None:
            self.record(Event("pickle.payload", "dangerous", f"{found.path} {danger}", pos), found.path)
        elif entry is None and found.path not in SPECIAL:
            self._unknown_name(found)
        return found

    def _unknown_name(self, found: Global) -> None:
        why = rules.gadget(found.module, found.name)
        text = (
            f"{found.path} {why}"
            if why
            else f"{found.path} is not on the allow-list, so what it does is unknown"
        )
        self.record(Event("pickle.unknown-name", "unproven", text, found.pos), found.path)

    def computed_name(self, module: Value, name: Value, pos: int) -> Obj:
        """STACK_GLOBAL with a name that is not a constant; the unpickler refuses all but strings."""
        for part in (module, name):
            text_like = isinstance(part, Obj) and part.tag in {"", "builtins.str"}
            if not text_like and self.match.text(part) is None:
                raise Broken("a name to import is not a string")
        text = f"{render(self.data, module)}.{render(self.data, name)}"
        message = "a name to import is computed while the file is loaded, which no pickler writes"
        # the numbers of an array, read as opcodes, do this by chance, but not with the name of a payload
        bad = self.journal is None or self._spells((module, name))
        self.record(Event("pickle.computed-name", "dangerous" if bad else "unproven", message, pos, text))
        return self.unknown(pos, tainted=bad)

    def _spells(self, parts: Sequence[Value]) -> bool:
        """Whether what a name is computed from spells a payload: whole, in parts, joined, or backwards."""
        known = rules.dangers()
        module, name = (self.texts([part]) for part in parts)
        modules = {*module, "".join(module), "".join(reversed(module))}
        names = {*name, "".join(name), "".join(reversed(name))}
        modules |= {text[::-1] for text in modules}
        names |= {text[::-1] for text in names}
        return any(text in known.payload_modules or text in known.payloads for text in modules) or any(
            text in known.callables or rules.payload(place, text) is not None
            for text in names
            for place in modules
            if text
        )

    def unknown(self, pos: int, *, tainted: bool = False) -> Obj:
        """A value of which nothing is known."""
        found = Obj("", pos)
        found.tainted = tainted
        return found

    # --- calls ---------------------------------------------------------------------------------------------

    def call(self, callee: Value, given: Value, pos: int) -> Value:
        """`callee(*given)`: REDUCE, and INST or OBJ with arguments."""
        args = given.items if isinstance(given, Seq) and given.whole else None
        if isinstance(callee, Global):
            return self._call_name(callee, args, pos)
        if not isinstance(callee, Obj):
            raise Broken("a value that cannot be called is called")
        if callee.built is not None:
            return classes.call(self, callee, args, pos)
        result = Obj("", pos, callee, args)
        result.tainted = callee.tainted or self._imported(callee) or carries_function(callee)
        text = call_text(self.data, callee, args)
        if why := fetched.does(self, callee, args):
            result.tainted = True
            self.record(Event("pickle.fetched-call", "dangerous", why, pos, text), why)
            return result
        level: Level = "dangerous" if result.tainted or self._suspicious(args) else "unproven"
        self.record(Event("pickle.computed-call", level, "the result of another call is called", pos, text))
        return result

    def _call_name(self, callee: Global, args: Sequence[Value] | None, pos: int) -> Value:
        path, entry = callee.path, callee.entry
        result = Obj("", pos, callee, args)
        if callee.danger is None:
            if args is not None and (special := SPECIAL.get(path)) is not None:
                return special(self, callee, args, pos)
            if entry is not None and args is not None and self.match.matches(entry.call or (), args):
                result.tag = entry.returns or path
                result.entry = _entry_of(result.tag) if entry.returns else entry
                return result
        text = call_text(self.data, callee, args)
        if callee.danger is not None:
            result.tainted = True
            self.record(Event("pickle.payload", "dangerous", f"{path} {callee.danger}", pos, text), path)
        elif (why := self._gadget(callee)) is not None:
            result.tainted = True
            self.record(Event("pickle.gadget", "dangerous", f"{path} {why}", pos, text), path)
        else:
            self._unproven_call(callee, args, pos, text)
        return result

    def _gadget(self, callee: Global) -> str | None:
        """What a call outside the schema does, when it is known; with a schema, only if it is a payload."""
        if callee.entry is None or callee.entry.call is None:
            return rules.gadget(callee.module, callee.name)
        return rules.payload(callee.module, callee.name)

    def _unproven_call(self, callee: Global, args: Sequence[Value] | None, pos: int, text: str) -> None:
        path = callee.path
        if why := fetched.handed(self, callee, args):
            self.record(
                Event("pickle.fetched-call", "dangerous", f"{path} is given what calls {why}", pos, text), why
            )
        elif any(isinstance(arg, Obj) and carries_function(arg) for arg in args or ()) and path in _CONSUMERS:
            message = (
                f"{path} takes what an iterator gives, which calls a function built from code in the file"
            )
            self.record(Event("pickle.built-call", "dangerous", message, pos, text), path)
        elif word := self._suspicious(args):
            message = f"{path} is called with {word!r} in an argument"
            self.record(Event("pickle.payload-argument", "dangerous", message, pos, text), path)
        elif callee.entry is None and (why := _meaning(callee, self.texts(args))):
            self.record(Event("pickle.named-gadget", "dangerous", f"{path} {why}", pos, text), path)
        elif callee.entry is not None:
            message = f"{path} is called with arguments outside its schema"
            self.record(Event("pickle.arguments", "unproven", message, pos, text), path)
        else:
            message = f"{path} is not on the allow-list, so what its call does is unknown"
            self.record(Event("pickle.unknown-name", "unproven", message, pos, text), path)

    def _suspicious(self, args: Sequence[Value] | None) -> str | None:
        """The first known text of commands, code or downloads inside constant arguments."""
        known = rules.dangers().arguments
        for text in self.texts(args):
            if word := next((word for word in known if word in text), None) or rules.names_payload(text):
                return word
            if word := fetched.inner_payload(self, text):
                return word
        return None

    def texts(self, args: Sequence[Value] | None) -> list[str]:
        """Constant texts and bytes inside arguments, the last first, those of calls among them included."""
        todo, found = list(args or ())[:64], []
        for _ in range(256):
            if not todo:
                break
            item = todo.pop()
            if not isinstance(item, int):
                inner = item.args or () if isinstance(item, Obj) else children(item)
                todo += list(inner)[:64] if isinstance(item, Seq | Map | Obj) else ()
                continue
            value = self.match.scalar(item)
            text = value.decode("latin-1") if isinstance(value, bytes | bytearray) else value
            if isinstance(text, str):
                found.append(text)
        return found

    def _imported(self, callee: Obj) -> bool:
        """Whether a value is what an unlisted importer gave for a dotted text."""
        made = callee.callee
        return isinstance(made, Global) and made.entry is None and _imports(made, self.texts(callee.args))

    # --- instances -----------------------------------------------------------------------------------------

    def new(self, cls: Value, given: Value, pos: int, kwargs: Value | None = None) -> Value:
        """`cls.__new__(cls, *given, **kwargs)`: NEWOBJ, NEWOBJ_EX, and OBJ or INST without arguments."""
        args = given.items if isinstance(given, Seq) and given.whole else None
        result = Obj("", pos, cls, args)
        if not isinstance(cls, Global | Obj):
            raise Broken("a value that is no class is instantiated")
        if isinstance(cls, Obj) and cls.built is not None:
            return classes.instantiate(self, cls, args if _nothing(kwargs) else None, pos)
        if isinstance(cls, Obj):
            result.tainted = cls.tainted
            level: Level = "dangerous" if result.tainted else "unproven"
            text = call_text(self.data, cls, args)
            self.record(
                Event("pickle.computed-call", level, "a class that is not a name is instantiated", pos, text)
            )
            return result
        entry = cls.entry
        plain = _nothing(kwargs)
        if not plain and kwargs is not None and entry is not None and entry.named:
            plain = self.match.matches_one("@dict", kwargs)
        known = entry is not None and entry.kind == "class" and args is not None and plain
        if known and entry is not None and (not args or self.match.matches(entry.new or (), args)):
            result.tag, result.entry = cls.path, entry
            return result
        text = call_text(self.data, cls, args)
        if cls.danger is not None:
            result.tainted = True
            self.record(Event("pickle.payload", "dangerous", f"{cls.path} {cls.danger}", pos, text), cls.path)
        else:
            self._unproven_call(cls, args, pos, text)
        return result

    def build(self, target: Value, state: Value, pos: int) -> None:
        """BUILD: give an object its state."""
        if self.journal is not None:
            self.journal.note(target)
        if isinstance(target, Obj) and target.built is not None:
            closures.give_state(self, target, state, pos)
            return
        if not (isinstance(target, Obj) and target.entry is not None and target.entry.state == "pydantic"):
            self._injection(target, state, pos)  # a model of pydantic is given __dict__ by its own method
        if isinstance(target, Global):
            text = f"{target.path} <- {render(self.data, state)}"
            message = f"attributes of {target.path} itself are overwritten"
            self.record(Event("pickle.patched", "dangerous", message, pos, text), target.path)
        elif not isinstance(target, Obj):
            message = "a state is given to a value that takes none"
            self.record(Event("pickle.state", "unproven", message, pos))
        elif target.tainted:
            text = f"{render(self.data, target)} <- {render(self.data, state)}"
            self.record(
                Event(
                    "pickle.patched",
                    "dangerous",
                    "attributes of a payload's result are overwritten",
                    pos,
                    text,
                )
            )
        elif target.tag and (problem := self._state(target, state)) is not None:
            self.record(Event("pickle.state", "unproven", f"{target.tag}: {problem}", pos))
        if isinstance(target, Obj):
            kind = target.entry.state if target.entry is not None else "none"
            target.loose = target.loose or kind in LOOSE or target.state is not None
            target.state = state

    def _state(self, target: Obj, state: Value) -> str | None:
        """What is wrong with giving this state to an object, or None."""
        check = CHECKS.get(target.entry.state) if target.entry is not None else None
        if check is None:
            return "it is not known to take a state"
        if target.state is not None:
            return "it is given a state twice"
        return check(self.match, target, state)

    def _injection(self, target: Value, state: Value, pos: int) -> None:
        parts = state.items[:2] if isinstance(state, Seq) and len(state.items) == 2 else [state]
        for part in parts:
            for key in part.keys if isinstance(part, Map) else ():
                name = self.match.text(key)
                if name in INJECTED:
                    text = f"{render(self.data, target, 1)}.{name} <- {render(self.data, part)}"
                    message = f"the state sets {name}, through which later opcodes call what it holds"
                    self.record(Event("pickle.injection", "dangerous", message, pos, text), name or "")

    def items(
        self, target: Value, kind: Literal["list", "dict", "set"], items: list[Value], pos: int
    ) -> None:
        """APPEND(S), SETITEM(S), ADDITEMS."""
        if self.journal is not None:
            self.journal.note(target)
        if kind != "list":
            self.keys(items if kind == "set" else items[0::2], pos)
        if isinstance(target, Seq) and target.kind == kind:
            target.extend(items)
        elif isinstance(target, Map) and kind == "dict" and not target.shared:
            target.update(items)
        elif (
            isinstance(target, Obj)
            and target.entry is not None
            and target.entry.items.partition(":")[0] == kind
            and not target.loose
            and (
                ":" not in target.entry.items
                or self._plainly(items, data=target.entry.items.endswith(":names"))
            )
        ):
            target.held += [item for item in items if type(item) is not int]
        elif isinstance(target, Obj) and not target.tainted and target.entry is None and target.tag == "":
            message = f"items are added to an object of unknown kind by its own {kind} method"
            self.record(Event("pickle.items", "unproven", message, pos))
        elif isinstance(target, Global | Obj):
            bad = isinstance(target, Global) or target.tainted
            text = f"{render(self.data, target)} <- items"
            message = "items are set on something that is not a plain container"
            self.record(Event("pickle.items", "dangerous" if bad else "unproven", message, pos, text))
        elif not (kind == "list" and self.match.matches_one("bytearray", target)):
            self.record(Event("pickle.items", "unproven", "items are added to a value that takes none", pos))

    def _plainly(self, items: Sequence[Value], *, data: bool) -> bool:
        """Whether keys in turn with values are ordinary names and data: they become attributes."""
        names = [self.match.text(key) for key in items[0::2]]
        return all(name is not None and not name.startswith("__") for name in names) and (
            not data or all(self.match.matches_one("data", value) for value in items[1::2])
        )

    def keys(self, items: Sequence[Value], pos: int) -> None:
        """Values that become keys or members: they are hashed and compared at once."""
        for item in items:
            if type(item) is not int and not self.match.hashable(item):
                message = "a key is an object whose hash or comparison may call what the file holds"
                self.record(Event("pickle.key", "unproven", message, pos))

    def kept(self, root: Value, pos: int) -> None:
        """What a finished stream gives to its loader."""
        for found in self.match.references(root):
            message = f"{found.path} is kept as a value, so that later code may call it with anything"
            self.record(Event("pickle.reference", "unproven", message, pos), found.path)

    def persistent(self, pid: Value, pos: int) -> Value:
        """PERSID and BINPERSID: harmless only as the storages that torch writes."""
        schemas = _TORCH_IDS.get(self.loader, ())
        items = pid.items if isinstance(pid, Seq) and pid.whole and pid.kind == "tuple" else []
        if self.match.matches(schemas, items) and self._storage_or_class(items):
            return items[1] if self.match.text(items[0]) == "module" else Obj("torch.storage", pos)
        text = f"persistent_load({render(self.data, pid)})"
        message = "a persistent id is resolved by the loading program, in a way the file does not state"
        self.record(Event("pickle.persistent-id", "unproven", message, pos, text))
        return self.unknown(pos)

    def _storage_or_class(self, items: Sequence[Value]) -> bool:
        cls = items[1]
        if not isinstance(cls, Global) or cls.entry is None:
            return False
        return self.match.text(items[0]) == "module" or cls.entry.returns == "torch.storage"


_TORCH_IDS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "torch": (("'storage'", "class", "str", "str", "int"),),
    "torch-legacy": (
        ("'storage'", "class", "str|int", "str", "int", "none|tuple?"),
        ("'module'", "class", "str|none", "str|none"),
    ),
}


def _nothing(kwargs: Value | None) -> bool:
    """Whether an instantiation gives no arguments by name."""
    return kwargs is None or (isinstance(kwargs, Map) and kwargs.whole and not kwargs.keys)


def _meaning(callee: Global, texts: list[str]) -> str | None:
    from modelward.artifact.pickle import words  # only for a call that is on no list

    return words.meaning(callee.module, callee.name, texts)


def _imports(callee: Global, texts: list[str]) -> bool:
    from modelward.artifact.pickle import words  # as above

    return words.imports(callee.name, texts)


def _entry_of(path: str) -> Entry | None:
    module, _, name = path.rpartition(".")
    return rules.find(module, name)
