"""Classes that a file brings itself: what they inherit, and which of their methods loading would call.

Source: cloudpickle/cloudpickle.py 2.2 to 3.1 (_make_skeleton_class, _make_skeleton_enum, _class_setstate),
dill/_dill.py 0.3.6 to 0.4 (_create_type).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.events import Event
from modelward.artifact.pickle import rules
from modelward.artifact.pickle.built import INSTANCE, Built, built, make, outside, runs
from modelward.artifact.pickle.values import Global, Map, Obj, Seq, call_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.values import Value

_MAKING: Final = (
    "__new__",
    "__setstate__",
    "__getattr__",
    "__getattribute__",
    "__del__",
    "__dict__",
    "__class__",
)
"""Methods that making an instance and giving it attributes would call."""
_ITEMS: Final = ("__setitem__", "append", "extend", "add", "update")
_WATCHED: Final = frozenset(
    (*_MAKING, *_ITEMS, "__init__", "__init_subclass__", "__set_name__", "__setattr__", "__call__",
     "__missing__", "_missing_", "__subclasshook__", "__prepare__", "__mro_entries__",
     "_generate_next_value_", "__post_init__")
)  # fmt: skip
_FIXED: Final = frozenset({"__bases__", "__mro__", "__base__", "__subclasses__"})
_PLAIN_BASES: Final = frozenset(
    f"builtins.{name}"
    for name in ("object", "dict", "list", "set", "tuple", "str", "int", "float", "Exception", "ValueError")
)


def _skeleton(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`_make_skeleton_class(metaclass, name, bases, attributes, id, extra)`."""
    if len(args) != 6 or not judge.match.matches((("str|none", "none"),), args[4:]):
        return outside(judge, callee, args, pos)
    return _class(judge, callee, args[:4], pos)


def _skeleton_enum(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`_make_skeleton_enum(bases, name, qualname, members, module, id, extra)`: only of constants."""
    if len(args) != 7 or not judge.match.matches(
        (("tuple", "str", "str", "dict", "str|none", "str|none", "none"),), args
    ):
        return outside(judge, callee, args, pos)
    members = args[3]
    if not isinstance(members, Map) or not judge.match.plain(members):
        return outside(judge, callee, args, pos)
    made = _class(judge, callee, [Global("builtins", "type", pos, None, None), args[1], args[0], Map()], pos)
    if (found := built(made)) is not None and found.entry is not None and found.entry.kind != "enum":
        return outside(judge, callee, args, pos)
    return made


def _create_type(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`dill._dill._create_type(metaclass, name, bases, attributes)`, which calls the metaclass."""
    return _class(judge, callee, args, pos) if len(args) == 4 else outside(judge, callee, args, pos)


def _class(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`metaclass(name, bases, attributes)`."""
    meta, name, bases, namespace = args
    known = isinstance(meta, Global) and meta.path in {"builtins.type", "abc.ABCMeta"}
    if (
        not known
        or judge.match.text(name) is None
        or not isinstance(bases, Seq)
        or not isinstance(namespace, Map)
    ):
        return outside(judge, callee, args, pos)
    entry = _inherited(bases.items)
    if entry is None or not namespace.whole or not all(_unaware(value) for value in namespace.values):
        return outside(judge, callee, args, pos)
    result = make("class", pos, args)
    found = Built("class", entry=_with_slots(judge, entry, namespace))
    found.bases = [base for item in bases.items if (base := built(item, "class")) is not None]
    result.built = found
    if hook := _inherits(found.bases, ("__init_subclass__", "__mro_entries__")):
        runs(judge, f"its base's {hook[0]}", hook[1], pos)
    attributes(judge, found, zip(namespace.keys, namespace.values, strict=False), pos)
    return result


def _unaware(value: Value) -> bool:
    """Whether putting a value into a class calls nothing of it: it has no `__set_name__` of the file's."""
    return not isinstance(value, Obj) or (value.tag not in {"", INSTANCE} and not value.tainted)


def _inherited(bases: Sequence[Value]) -> rules.Entry | None:
    """What instances of a class with these bases may be given; None when a base is not known to allow it."""
    entries: list[rules.Entry] = []
    for base in bases:
        found = built(base, "class")
        entry = found.entry if found is not None else base.entry if isinstance(base, Global) else None
        plain = isinstance(base, Global) and base.path in _PLAIN_BASES
        if entry is None or (found is None and not plain and not entry.base and entry.kind != "enum"):
            return None
        entries.append(entry)
    kinds = {entry.state for entry in entries} - {"none", "dict"}
    items = {entry.items for entry in entries} - {""}
    if len(kinds) > 1 or len(items) > 1:
        return None
    kind = "enum" if any(entry.kind == "enum" for entry in entries) else "class"
    slots = tuple(name for entry in entries for name in entry.slots)
    return rules.Entry(
        kind, state=next(iter(kinds), "dict"), items=next(iter(items), ""), slots=slots, base=True
    )


def _with_slots(judge: Judge, entry: rules.Entry, namespace: Map) -> rules.Entry:
    given = [
        value
        for key, value in zip(namespace.keys, namespace.values, strict=False)
        if judge.match.text(key) == "__slots__"
    ]
    names = [
        judge.match.text(item)
        for value in given
        for item in (value.items if isinstance(value, Seq) else [value])
    ]
    return msgspec.structs.replace(entry, slots=(*entry.slots, *(name for name in names if name is not None)))


def attributes(judge: Judge, found: Built, pairs: Iterable[tuple[Value, Value]], pos: int) -> None:
    """Attributes of a class: those that loading may call are kept in mind."""
    for key, value in pairs:
        name = judge.match.text(key)
        if name is None or name in _FIXED:
            message = f"a class built from the file sets {name or 'an attribute whose name is no text'}"
            judge.record(Event("pickle.built", "unproven", message, pos), message)
        slot = found.entry is not None and name in found.entry.slots
        listed = isinstance(value, Global) and value.entry is not None
        if (
            name is None
            or not (name in _WATCHED or slot)
            or listed
            or (name == "__dict__" and isinstance(value, int))
        ):
            continue
        inner = built(value)
        found.methods["__setattr__" if slot else name] = inner.word if inner is not None else None
        if found.made and (slot or name in (*_MAKING, "__setattr__")):
            runs(judge, f"the {name} of its class", found.methods["__setattr__" if slot else name], pos)


def _class_state(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`_class_setstate(class, (attributes, slots))`: setattr of each; `_abc_impl` registers subclasses."""
    found = built(args[0], "class") if len(args) == 2 else None
    state = args[1].items[0] if len(args) == 2 and isinstance(args[1], Seq) and args[1].items else None
    if found is None or not isinstance(state, Map) or not state.whole:
        return outside(judge, callee, args, pos)
    target = args[0]
    if isinstance(target, Obj):
        target.held.append(state)
    attributes(judge, found, zip(state.keys, state.values, strict=False), pos)
    for key, value in zip(state.keys, state.values, strict=False):
        if judge.match.text(key) == "_abc_impl" and not (isinstance(value, Seq) and not value.items):
            runs(judge, "the registration of a subclass", None, pos)
    return target


def _inherits(classes: Sequence[Built], names: Sequence[str]) -> tuple[str, str | None] | None:
    """The first of these methods that a class, or one of its bases, brings, and what its code holds."""
    todo, seen = list(classes), set[int]()
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if name := next((name for name in names if name in found.methods), None):
            return name, found.methods[name]
        todo += found.bases
    return None


# --- what loading does with them ---------------------------------------------------------------------------


def call(judge: Judge, callee: Obj, args: Sequence[Value] | None, pos: int) -> Obj:
    """A call of something that the file built."""
    found = built(callee)
    result = Obj("", pos, callee, args)
    text = call_text(judge.data, callee, args)
    if found is None or found.kind != "class":
        message = "a function built from code in the file is called while it is loaded"
        if found is not None and found.word:
            message += f", and that code holds {found.word!r}"
        judge.record(Event("pickle.built-call", "dangerous", message, pos, text), message)
        result.tainted = True
        return result
    hook = _inherits([found], ("__new__", "__init__", "__call__", "_missing_", "__post_init__"))
    entry = found.entry
    constants = args is not None and all(isinstance(arg, int) for arg in args)
    if hook is not None:
        runs(judge, f"the {hook[0]} of its class", hook[1], pos, call=text)
    elif entry is None or not (constants and (entry.kind == "enum" or not args or entry.state == "dict")):
        judge.record(
            Event("pickle.built-call", "unproven", "a class built from the file is called", pos, text)
        )
    else:
        return _instance(judge, found, result, pos)
    return result


def instantiate(judge: Judge, cls: Obj, args: Sequence[Value] | None, pos: int) -> Obj:
    """`cls.__new__(cls, *args)` of a class that the file built."""
    found, result = built(cls, "class"), Obj("", pos, cls, args)
    if (
        found is None
        or args is None
        or (args and not (found.entry and judge.match.matches((("data*",),), args)))
    ):
        text = call_text(judge.data, cls, args)
        judge.record(
            Event("pickle.built-call", "unproven", "a class built from the file is instantiated", pos, text)
        )
        return result
    return _instance(judge, found, result, pos)


def _instance(judge: Judge, found: Built, result: Obj, pos: int) -> Obj:
    todo = [found]
    while todo:
        one = todo.pop()
        if not one.made:
            one.made = True
            todo += one.bases
    names = (*_MAKING, *_ITEMS) if found.entry is not None and found.entry.items else _MAKING
    if (hook := _inherits([found], names)) is not None:
        runs(judge, f"the {hook[0]} of its class", hook[1], pos)
    result.tag, result.entry = INSTANCE, found.entry
    if found.entry is not None and found.entry.slots and _inherits([found], ("__setattr__",)):
        result.entry = msgspec.structs.replace(found.entry, slots=())
    return result


CLASSES: Final = {
    "_make_skeleton_class": _skeleton, "_make_skeleton_enum": _skeleton_enum, "_class_setstate": _class_state,
    "_create_type": _create_type,
}  # fmt: skip
"""Name of the function of cloudpickle or dill -> what follows it."""
