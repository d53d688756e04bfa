"""An oracle for the opcodes' meaning: CPython loads our own benign files in a locked-down child, and the machine's
symbolic result must have the same structure, piece by piece: kinds, lengths, constants, names and calls."""

import json
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelward.artifact.pickle import machine
from modelward.artifact.pickle.judge import Judge
from modelward.artifact.pickle.opcodes import State
from modelward.artifact.pickle.values import KEPT, Global, Map, Obj, Seq, constant

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
from vectors import asm  # noqa: E402 - scripts beside the tests, no package

# The child: the project's own lock (no network, no writes, no process, no file), and names give stand-ins.
LOCKED = r"""
import base64, io, json, os, pickle, sys, _compat_pickle
sys.path.insert(0, SOURCE)
from modelward.errors import SandboxUnavailable
from modelward.sandbox.limits import Limits
from modelward.sandbox.lock import lock
for codec in ("raw_unicode_escape", "unicode_escape", "latin1", "ascii"):
    "x".encode(codec).decode(codec)  # a codec is a module, and none can be imported later
try:
    lock((), (), Limits(), keep=os.pipe())
except SandboxUnavailable as error:
    print(error, file=sys.stderr)
    sys.exit(77)
"""
CHILD = (
    LOCKED
    + r"""
class Call:
    def __init__(self, name, args=()):
        self.name, self.args, self.state, self.items = name, args, None, []
    def __setstate__(self, state): self.state = [state]
    def append(self, item): self.items.append(item)
    def extend(self, items): self.items += items
    def add(self, item): self.items.append(item)
    def __setitem__(self, key, value): self.items += [key, value]
    def __hash__(self): return id(self)
    def __call__(self, *args): return Call("?", args)

class Name(type):
    def __call__(cls, *args, **more): return Call(cls.label, args)

def named(label, seen):
    def made(cls, *args, **more): return Call(label, args)
    return Name("Stub", (), {"label": label, "__new__": made})

def shape(value, depth=0):
    if depth > 40: return "deep"
    if isinstance(value, Name): return ["name", value.label]
    if isinstance(value, Call):
        state = None if value.state is None else shape(value.state[0], depth + 1)
        return ["call", value.name, [shape(item, depth + 1) for item in value.args], state, len(value.items)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, len(value), [shape(item, depth + 1) for item in value[:8]]]
    if isinstance(value, (set, frozenset)): return [type(value).__name__, len(value)]
    if isinstance(value, dict):
        return ["dict", len(value), [[shape(key, depth + 1), shape(item, depth + 1)] for key, item in list(value.items())[:8]]]
    if value is None or isinstance(value, (bool, str)): return [type(value).__name__, value]
    return [type(value).__name__, repr(bytes(value) if isinstance(value, bytearray) else value)]

out = []
for line in sys.stdin:
    data, kind = base64.b64decode(line.split()[0]), line.split()[1]
    base = pickle.Unpickler if kind == "C" else pickle._Unpickler
    seen, raw, stubs = [], [], {}
    class Oracle(base):
        def find_class(self, module, name):
            raw.append([module, name])
            if data[0] != 0x80 or data[1] < 3:
                module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
                module = _compat_pickle.IMPORT_MAPPING.get(module, module)
            seen.append([module, name])
            return stubs.setdefault((module, name), named(module + "." + name, seen))
        def persistent_load(self, pid): return Call("persistent", (pid,))
    out.append({"shape": shape(Oracle(io.BytesIO(data)).load()), "names": seen, "raw": raw})
print(json.dumps(out))
"""
)


def child(script, lines=""):
    script = f"SOURCE = {str(TESTS.parent / 'src')!r}\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script], input=lines, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode == 77:
        pytest.skip(f"the kernel locks no process: {done.stderr.strip()}")
    return done


def oracle(streams, kind="C"):
    """What CPython makes of these streams, in one child for all of them."""
    import base64

    lines = "".join(f"{base64.b64encode(data).decode()} {kind}\n" for data in streams)
    done = child(CHILD, lines)
    assert done.returncode == 0, done.stderr[-500:]
    return json.loads(done.stdout)


class Walked:
    """The machine's result of one stream: the value left at STOP, as the oracle's child describes its own."""

    def __init__(self, data):
        self.judge = Judge(data)
        self.state = State(data, self.judge, joblib=False)
        cursor = [0]
        machine._run(self.state, 0, cursor)
        self.kept, self.end = self.state.stack[-1], cursor[0]

    def shape(self, value, depth=0):
        if depth > 40:
            return "deep"
        if type(value) is int:
            found = constant(self.judge.data, value)
            plain = (
                found
                if found is None or isinstance(found, bool | str)
                else repr(bytes(found) if isinstance(found, bytearray) else found)
            )
            return [type(found).__name__, plain]
        if isinstance(value, Global):
            return ["name", value.path]
        if isinstance(value, Seq) and value.kind in {"set", "frozenset"}:
            return [value.kind, len(value.items) if value.whole else None]
        if isinstance(value, Seq):
            items = [self.shape(item, depth + 1) for item in value.items[:8]]
            return [value.kind, len(value.items) if value.whole else None, items]
        if isinstance(value, Map):
            pairs = {
                json.dumps(self.shape(key, depth + 1)): self.shape(item, depth + 1)
                for key, item in zip(value.keys, value.values, strict=False)
            }
            return ["dict", len(pairs), [[json.loads(key), item] for key, item in list(pairs.items())[:8]]]
        assert isinstance(value, Obj)
        if value.callee is None:
            return ["persistent"]
        state = None if value.state is None else self.shape(value.state, depth + 1)
        callee = value.callee.path if isinstance(value.callee, Global) else "?"
        return ["call", callee, [self.shape(item, depth + 1) for item in value.args or ()], state]


def alike(real, symbolic, where="value"):
    """Compare, and say where they part; what the machine dropped to bound memory is None and is not compared."""
    if real == "deep" or symbolic == "deep":
        return
    kind = real[0]
    if kind == "call" and real[1] == "persistent":
        assert symbolic == ["persistent"], where
        return
    assert symbolic[0] == kind, (where, real, symbolic)
    if kind in {"list", "tuple", "dict"}:
        assert symbolic[1] in {None, real[1]}, where
        for at, (one, two) in enumerate(zip(real[2], symbolic[2], strict=False)):
            pairs = zip(one, two, strict=True) if kind == "dict" else [(one, two)]
            for left, right in pairs:
                alike(left, right, f"{where}[{at}]")
        assert symbolic[1] is None or len(real[2]) == len(symbolic[2]), where
    elif kind == "call" and real[1] in {"copyreg._reconstructor", "copyreg.__newobj__"}:
        # the machine names the class that the helper makes an object of
        assert symbolic[1] in {real[1], real[2][0][1]}, where
        assert (real[3] is None) == (symbolic[3] is None), where
    elif kind == "call":
        assert symbolic[1] in {real[1], "?"} or real[1] == "?", where
        assert len(real[2]) == len(symbolic[2]), where
        for at, (one, two) in enumerate(zip(real[2], symbolic[2], strict=True)):
            alike(one, two, f"{where}({at})")
        assert (real[3] is None) == (symbolic[3] is None), where
        if real[3] is not None:
            alike(real[3], symbolic[3], f"{where}.state")
    elif kind in {"set", "frozenset"}:
        assert symbolic[1] in {None, real[1]}, where
    else:
        assert real[1:] == symbolic[1:], where


def compared(streams, kind="C"):
    for data, real in zip(streams, oracle(streams, kind), strict=True):
        walked = Walked(data)
        alike(real["shape"], walked.shape(walked.kept))
        assert walked.end == len(data)


class Plain:
    """Has a dictionary as its state."""

    def __init__(self):
        self.a, self.b = [1, 2], {"x": (1,)}


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = 1, "two"


class Arguments(tuple):
    """Is made by NEWOBJ with arguments."""

    __slots__ = ()

    def __new__(cls, *items):
        return super().__new__(cls, items)

    def __getnewargs__(self):
        return tuple(self)


class Keywords:
    """Is made by NEWOBJ_EX."""

    def __new__(cls, *, size=0):
        made = super().__new__(cls)
        made.size = size
        return made

    def __getnewargs_ex__(self):
        return (), {"size": self.size}


class Reduced:
    """Is made by REDUCE, with a state, list items and dictionary items."""

    def __reduce__(self):
        return Reduced, (), {"a": 1}, iter([1, 2, 3]), iter([("k", "v")])


def objects():
    import collections
    import datetime as dt
    import decimal
    import fractions
    import uuid

    shared = [1, 2]
    loop = []
    loop.append(loop)
    yield from (
        None,
        True,
        False,
        1,
        -1,
        255,
        256,
        65535,
        65536,
        2**31,
        -(2**31),
        2**63,
        2**2100,
        1.5,
        -0.0,
        float("inf"),
    )
    yield from (
        "",
        "a",
        "ä" * 200,
        "x" * 70000,
        "\n\\'\"\u2028",
        b"",
        b"a\x00",
        b"x" * 300,
        b"x" * 70000,
        bytearray(b"abc"),
    )
    yield from (
        [],
        (),
        {},
        set(),
        frozenset(),
        [1],
        (1,),
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
        {"a": 1},
        {1, 2},
        frozenset({3}),
    )
    yield from (
        [shared, shared],
        {"a": shared, "b": (shared,)},
        [[[[[]]]]],
        list(range(20)),
        {i: str(i) for i in range(20)},
    )
    yield from (
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1, 2], 5),
        decimal.Decimal("1.5"),
    )
    yield from (
        dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        complex(1, 2),
        range(3),
        slice(1, 2),
    )
    yield from (
        Plain(),
        Slotted(),
        Arguments(1, "b"),
        Keywords(size=3),
        Reduced(),
        len,
        collections.OrderedDict,
        ValueError("x"),
        Ellipsis,
    )


@pytest.mark.parametrize("kind", ["C", "Python"])
@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_means_what_cpython_makes_of_it(protocol, kind):
    streams = []
    for value in objects():
        try:
            streams.append(pickle.dumps(value, protocol))
        except (TypeError, pickle.PicklingError, ValueError):
            continue
    assert len(streams) > 45
    compared(streams, kind)


def test_every_opcode_that_needs_no_registry_is_among_the_streams():
    seen = set()
    for protocol in range(6):
        for value in objects():
            try:
                seen |= {code.name for code, _, _ in pickletools.genops(pickle.dumps(value, protocol))}
            except (TypeError, pickle.PicklingError, ValueError):
                continue
    seen |= {code.name for data in HANDMADE.values() for code, _, _ in pickletools.genops(data)}
    left = {code.name for code in pickletools.opcodes} - seen
    assert left == {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}


HANDMADE = {
    "inst": b"(S'x'\nicollections\nCounter\n.",
    "obj": b"(ccollections\nCounter\nS'x'\no.",
    "strings of Python 2": b"(S'a'\nU\x01bT\x01\x00\x00\x00cl.",
    "text lines": b"(Va\\u0041\nI1\nI01\nL2L\nF1.5\nl.",
    "dict of a mark": b"(S'a'\nI1\nd.",
    "tuple of a mark": b"(I1\nI2\nt.",
    "dup": b"\x80\x02K\x012\x86.",
    "pop": b"\x80\x02K\x01K\x020.",
    "pop to the mark": b"\x80\x02K\x01(K\x02K\x031.",
    "pop of a mark": b"\x80\x02K\x01(0.",
    "memo": b"\x80\x02]q\x05K\x01r\x06\x00\x00\x00ah\x050j\x06\x00\x00\x00p7\ng7\n0.",
    "items of a dict": b"\x80\x02}(K\x01K\x02K\x03K\x04uK\x05K\x06s.",
    "long": b"\x80\x02\x8b\x02\x00\x00\x00\x01\x01.",
    "wide": b"\x80\x04\x8e\x02\x00\x00\x00\x00\x00\x00\x00ab.",
    "wide text": b"\x80\x04\x8d\x02\x00\x00\x00\x00\x00\x00\x00ab.",
    "bytearray": b"\x80\x05\x96\x02\x00\x00\x00\x00\x00\x00\x00ab.",
    "additems": b"\x80\x04\x8f(K\x01K\x02\x90.",
    "frozenset": b"\x80\x04(K\x01K\x02\x91.",
    "newobj_ex": b"\x80\x04" + asm.ref("collections:Counter") + b")}\x92.",
    "state of an object": asm.pickle(asm.obj("collections:Counter", state={"a": 1})),
    "state twice": asm.pickle(asm.obj("collections:Counter", state={"a": 1}) + asm.push({"b": 2}) + b"b"),
    "protocol said twice": b"\x80\x02\x80\x04K\x01.",
    "frames of nothing": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00K\x01.",
    "persistent": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "persistent line": b"Pa\n.",
    "put and get by line": b"I5\np12\n0g12\n.",
}


@pytest.mark.parametrize("kind", ["C", "Python"])
def test_streams_by_hand_mean_what_cpython_makes_of_them(kind):
    compared(list(HANDMADE.values()), kind)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=6)
        | st.frozensets(st.integers(), max_size=5)
        | inner.map(lambda value: [value, value])
    ),
    max_leaves=30,
)


# One child per example: shrinking would start thousands.
@settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(st.tuples(values, st.integers(0, 5)), min_size=20, max_size=40), st.sampled_from(["C", "Python"])
)
def test_drawn_values_mean_what_cpython_makes_of_them(drawn, kind):
    compared([pickle.dumps(value, protocol) for value, protocol in drawn], kind)


def test_the_names_asked_for_are_those_the_machine_judges(monkeypatch):
    heard = []
    original = Judge.name

    def name(judge, module, qualname, pos, proto):
        heard.append((module, qualname))
        return original(judge, module, qualname, pos, proto)

    monkeypatch.setattr(Judge, "name", name)
    for protocol in range(6):
        streams = [
            pickle.dumps(value, protocol) for value in (Plain(), Arguments(1), Reduced(), len, complex(1, 2))
        ]
        for data, real in zip(streams, oracle(streams), strict=True):
            heard.clear()
            Walked(data)
            assert set(map(tuple, real["raw"])) == set(heard)
            assert real["names"]


def test_a_long_list_keeps_its_first_items_and_knows_that_it_is_cut():
    data = pickle.dumps([str(i) for i in range(KEPT + 10)], 4)
    walked = Walked(data)
    assert walked.shape(walked.kept)[1] is None
    assert [item[1] for item in walked.shape(walked.kept)[2]] == [str(i) for i in range(8)]
    compared([data])


@pytest.mark.parametrize(
    "act",
    ["open('/nonexistent', 'w')", "open('/etc/hostname')", "os.fork()", "__import__('socket').socket()"],
)
def test_the_child_can_do_nothing_else(act):
    done = child(LOCKED + f"try:\n    {act}\nexcept OSError as error:\n    print('refused')\n")
    assert done.stdout == "refused\n" or done.returncode < 0


def test_the_comparison_notices_a_difference():
    with pytest.raises(AssertionError):
        alike(["list", 1, [["int", "1"]]], ["list", 1, [["int", "2"]]])
    with pytest.raises(AssertionError):
        alike(["call", "os.system", [], None, 0], ["name", "os.system"])
