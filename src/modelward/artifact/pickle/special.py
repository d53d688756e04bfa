"""Callables whose arguments are themselves called, instantiated or read: each is followed by a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.events import Event
from modelward.artifact.pickle import closures, rules
from modelward.artifact.pickle.values import Global, Obj, Seq, call_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.values import Value

EMBEDDED: Final = 10_000
"""Most torch files embedded in one pickle that are walked."""
_BASES: Final = frozenset(
    f"builtins.{name}"
    for name in ("object", "dict", "list", "tuple", "set", "frozenset", "int", "float", "str", "bytes")
)


def _reconstructor(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`copyreg._reconstructor(cls, base, state)`: `base.__new__(cls, state)`, `base.__init__(obj, state)`."""
    if len(args) == 3 and isinstance(args[1], Global) and args[1].path in _BASES:
        result = judge.new(args[0], Seq("tuple", []), pos)
        name = args[1].name if args[1].name in {"dict", "list", "tuple"} else "data"
        if isinstance(result, Obj) and judge.match.matches_one(f"{name}|none", args[2]):
            result.held.append(args[2])
            return result
    return _outside(judge, callee, args, pos)


def _newobj(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`copyreg.__newobj__(cls, *args)` is NEWOBJ as a function."""
    return (
        judge.new(args[0], Seq("tuple", list(args[1:])), pos) if args else _outside(judge, callee, args, pos)
    )


def _newobj_ex(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`copyreg.__newobj_ex__(cls, args, kwargs)` is NEWOBJ_EX as a function."""
    return judge.new(args[0], args[1], pos, args[2]) if len(args) == 3 else _outside(judge, callee, args, pos)


def _getattr(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`getattr(owner, name)`: dangerous unless both are known and lead nowhere near code."""
    owner = args[0] if args else None
    name = judge.match.text(args[1]) if len(args) > 1 else None
    result = Obj("", pos, callee, args)
    tainted = (isinstance(owner, Obj) and owner.tainted) or (
        isinstance(owner, Global) and owner.danger is not None
    )
    inner = (
        rules.find(owner.module, f"{owner.name}.{name}")
        if isinstance(owner, Global) and owner.entry is not None
        else None
    )
    if inner is not None and isinstance(owner, Global):
        return Global(owner.module, f"{owner.name}.{name}", pos, inner, None)
    if isinstance(owner, Global) and owner.path == "dill._dill" and name == "_setattr":
        return Global("builtins", "setattr", pos, rules.find("builtins", "setattr"), None)
    if name is not None and _method(owner, name):
        result.tag = callee.path
        return result
    known = rules.dangers()
    bad = name is None or name.startswith("__") or name in known.segments or name in known.callables
    result.tainted = tainted or bad
    enum = isinstance(owner, Global) and owner.entry is not None and owner.entry.kind == "enum"
    if (
        enum
        and isinstance(owner, Global)
        and name is not None
        and not result.tainted
        and name.isidentifier()
        and name[0] != "_"
    ):
        result.tag, result.entry = owner.path, owner.entry
        return result
    text = call_text(judge.data, callee, args)
    message = "an attribute is read by name while the file is loaded"
    judge.record(Event("pickle.getattr", "dangerous" if result.tainted else "unproven", message, pos, text))
    return result


def _method(owner: Value | None, name: str) -> bool:
    """Whether an attribute is a method of a built-in value, or listed: reading it calls nothing."""
    if isinstance(owner, Obj):
        module, _, qualname = (owner.callee.path if isinstance(owner.callee, Global) else "").rpartition(".")
        if owner.entry is not None and owner.entry.state == "module" and name in _KEPT:
            return True
        found = rules.find(module, f"{qualname}.{name}")
        return owner.entry is not None and found is not None and found.kind == "value"
    return owner is not None and not isinstance(owner, Global) and name.isidentifier() and name[0] != "_"


_KEPT: Final = frozenset(
    {"prepare_inputs_for_generation", "_prepare_encoder_decoder_kwargs_for_generation", "load_hook"}
)
"""Methods of a torch module that wrappers of transformers and peft keep; no class has a property so named."""


def _getter(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`operator.attrgetter(*names)` and `methodcaller(name, ...)` keep names, which lead on once called."""
    known, match = rules.dangers(), judge.match
    if callee.name == "attrgetter":
        texts = [match.text(arg) or "__" for arg in args]
        parts = [part for text in texts for part in text.split(".")]
        bad = any(part[0:1] == "_" or part in known.segments or part in known.callables for part in parts)
    else:
        bad = (
            not args
            or match.text(args[0]) not in _TEXT_METHODS
            or not match.plain(Seq("tuple", list(args[1:])))
        )
    result = Obj(callee.path, pos, callee, args)
    if args and not bad:
        result.entry = callee.entry
        return result
    text = call_text(judge.data, callee, args)
    message = (
        f"{callee.path} {'reads attributes' if callee.name == 'attrgetter' else 'calls methods'} by name"
    )
    judge.record(Event("pickle.gadget", "dangerous", message, pos, text), callee.path)
    return judge.unknown(pos, tainted=True)


_TEXT_METHODS: Final = frozenset(
    (
        "lower",
        "upper",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "title",
        "casefold",
        "capitalize",
        "replace",
        "splitlines",
    )
)
"""Methods of text that a tokenizer may call by name."""
_TENSORS: Final = "|".join(
    f"={name}"
    for name in (
        "torch.Tensor",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
        "torch.nn.Parameter",
        "torchvision.tv_tensors._image.Image",
        "torchvision.tv_tensors._mask.Mask",
        "torchvision.tv_tensors._video.Video",
        "torchvision.tv_tensors._bounding_boxes.BoundingBoxes",
    )
)


def _rebuild_from_type(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`torch._tensor._rebuild_from_type_v2(func, type, args, state)`: `func(*args)`, then attributes."""
    known = (
        len(args) == 4 and isinstance(args[0], Global) and args[0].path.startswith("torch._utils._rebuild_")
    )
    if known and judge.match.matches_one(_TENSORS, args[1]) and judge.match.matches_one("data", args[3]):
        result = judge.call(args[0], args[2], pos)
        if isinstance(result, Obj):
            result.held.append(args[3])
        return result
    return _outside(judge, callee, args, pos)


def _jax_array(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`jax._src.array._reconstruct_array(f, args, state, aval)`: numpy's array, copied to a device."""
    known = (
        len(args) == 4
        and isinstance(args[0], Global)
        and args[0].path.startswith("numpy.")
        and args[0].name == "_reconstruct"
    )
    if known and judge.match.matches_one("@dict", args[3]):
        made = judge.call(args[0], args[1], pos)
        judge.build(made, args[2], pos)
        result = Obj("jax.Array", pos, callee, args)
        result.held.append(made)
        return result
    return _outside(judge, callee, args, pos)


def _load_from_bytes(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`torch.storage._load_from_bytes(b)` is torch.load of a constant, which can be walked in its turn."""
    inner = judge.match.raw(args[0]) if len(args) == 1 else None
    if inner is not None and len(judge.embedded) < EMBEDDED:
        judge.embedded.append(inner)
        return Obj("torch.storage", pos)
    return _outside(judge, callee, args, pos)


def _vocabulary(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`spacy.vocab.unpickle_vocab(strings, vectors, features, _, pickled getters, lookups, function)`.

    Source: spacy/vocab.pyx, 3.8: sets attributes of a new vocabulary; the getters are a pickle inside.
    """
    raw = judge.match.raw(args[4]) if len(args) == 7 else None
    if raw is None or not judge.match.matches(_VOCABULARY, [*args[:4], *args[5:]]):
        return _outside(judge, callee, args, pos)
    _inner(judge, raw, callee, pos)
    result = Obj("spacy.vocab.Vocab", pos, callee, args)
    result.loose = True
    return result


_VOCABULARY: Final = (
    (
        "#spacy.strings.StringStore",
        "#spacy.vectors.Vectors",
        "#spacy.morphology.Morphology",
        "plain",
        "none|#spacy.lookups.Lookups",
        "none|value",
    ),
)


def _document(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Value:
    """`spacy.tokens.doc.unpickle_doc(vocabulary, pickled hooks, bytes)` gives the hooks to `dict.update`."""
    raw = judge.match.raw(args[1]) if len(args) == 3 else None
    if raw is None:
        return _outside(judge, callee, args, pos)
    _inner(judge, raw, callee, pos)
    message = f"{callee.path} merges what a pickle inside holds, in a way that is not followed"
    judge.record(Event("pickle.arguments", "unproven", message, pos), callee.path)
    return judge.unknown(pos)


def _inner(judge: Judge, raw: bytes, callee: Global, pos: int) -> None:
    """Walk a pickle that a call unpickles while the one around it is loaded."""
    from modelward.artifact.pickle.streams import walked

    if judge.inside >= INSIDE:
        message = f"more than {INSIDE} pickles are inside each other"
        judge.record(Event("pickle.budget", "unproven", message, pos), callee.path)
        return
    inner = type(judge)(raw, jumps=False)
    inner.inside = judge.inside + 1
    found = walked(raw, inner)
    if not found.streams and not found.events:
        message = f"what {callee.path} unpickles is no pickle"
        judge.record(Event("pickle.arguments", "unproven", message, pos), callee.path)
    for event in found.events:
        message = f"in the pickle that {callee.path} loads: {event.message}"
        judge.record(
            Event(event.rule, event.level, message, pos, event.call), f"{callee.path} {event.message}"
        )


INSIDE: Final = 4
"""Most pickles inside each other that are walked."""


def _outside(judge: Judge, callee: Global, args: Sequence[Value], pos: int) -> Obj:
    text = call_text(judge.data, callee, args)
    message = f"{callee.path} is called with arguments outside its schema"
    tainted = any(isinstance(arg, Global) and arg.danger is not None for arg in args)
    judge.record(
        Event("pickle.arguments", "dangerous" if tainted else "unproven", message, pos, text), callee.path
    )
    return judge.unknown(pos, tainted=tainted)


SPECIAL: Final = {
    "copyreg._reconstructor": _reconstructor,
    "copyreg.__newobj__": _newobj,
    "copyreg.__newobj_ex__": _newobj_ex,
    "builtins.getattr": _getattr,
    "operator.attrgetter": _getter,
    "operator.methodcaller": _getter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch._tensor._rebuild_from_type": _rebuild_from_type,
    "torch.storage._load_from_bytes": _load_from_bytes,
    "jax._src.array._reconstruct_array": _jax_array,
    "spacy.vocab.unpickle_vocab": _vocabulary,
    "spacy.tokens.doc.unpickle_doc": _document,
    **closures.SPECIAL,
}
"""Callables whose arguments are themselves called or instantiated."""
