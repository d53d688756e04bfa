"""The machine against CPython: same opcodes, same names, never a crash; harmless values are inert."""

import collections
import datetime as dt
import decimal
import io
import itertools
import pickle
import pickletools
import random
import re
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.artifact.pickle import machine, opcodes, rows, runs, streams
from modelward.artifact.pickle.judge import Judge
from modelward.artifact.pickle.memo import Sparse, has, put
from modelward.artifact.pickle.streams import scan
from modelward.artifact.pickle.values import constant, kind
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import FileDamaged

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300) | st.binary(max_size=300)
    | st.dates() | st.datetimes() | st.timedeltas() | st.decimals(allow_nan=False) | st.uuids() | st.complex_numbers(allow_nan=False)
)  # fmt: skip
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.tuples(st.integers(), st.text(max_size=5))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.tuples(inner, inner)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashable, inner, max_size=8)
        | st.sets(hashable, max_size=8)
        | st.frozensets(hashable, max_size=8)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4).map(collections.OrderedDict)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.binary(max_size=20).map(bytearray)
        | inner.map(lambda value: [value, value])
    ),
    max_leaves=40,
)
SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(values, st.integers(0, 5))
def test_plain_values_are_inert_and_end_where_cpython_ends(value, protocol):
    data = pickle.dumps(value, protocol)
    result = scan(data)
    assert result.events == []
    assert (result.streams, result.end, result.unread) == (1, len(data), 0)
    assert inspect_bytes(data, "x").verdict == "inert"


def recorder(base, data):
    """An unpickler, in C or in Python, that notes the names it is asked for and gives harmless stand-ins."""

    class Recorder(base):
        def __init__(self, file):
            super().__init__(file)
            self.names = set()

        def find_class(self, module, name):
            self.names.add((module, name))
            return Stub

        def persistent_load(self, pid):
            return Stub()

    return Recorder(io.BytesIO(data))


class Stub:
    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass

    def add(self, item):
        pass

    def __setitem__(self, key, value):
        pass


class Listening:
    """Collects what the machine asks its judge about names."""

    def __init__(self, monkeypatch):
        self.names = set()
        original = Judge.name

        def name(judge, module, qualname, pos, proto):
            self.names.add((module, qualname))
            return original(judge, module, qualname, pos, proto)

        monkeypatch.setattr(Judge, "name", name)


def mutated(data, seed):
    rng = random.Random(seed)
    raw = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw))
        action = rng.randrange(3)
        if action == 0:
            raw[at] = rng.choice(sorted(opcodes.VALID))
        elif action == 1:
            del raw[at]
        else:
            raw.insert(at, rng.randrange(256))
    return bytes(raw)


SEEDS = [
    {
        "a": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        "b": decimal.Decimal(1),
        "c": collections.OrderedDict(x=[1, 2]),
    },
    [uuid.UUID(int=1), {1, 2}, frozenset({"a"}), complex(1, 2), "x" * 300, collections.Counter("aab")],
]


@pytest.mark.parametrize("base", [pickle._Unpickler, pickle.Unpickler], ids=["python", "c"])
def test_names_that_cpython_looks_up_are_names_the_machine_judges(monkeypatch, base):
    """On thousands of mutated pickles: whatever the unpickler gets to before it fails, the machine saw too."""
    heard = Listening(monkeypatch)
    looked_up = 0
    for seed in range(1500):
        data = mutated(pickle.dumps(SEEDS[seed % 2], seed % 6), seed)
        heard.names.clear()
        scan(data)
        found = recorder(base, data)
        try:
            found.load()
        except Exception:
            assert True
        looked_up += len(found.names)
        assert found.names <= heard.names, data
    assert looked_up > 1500


def test_a_null_character_after_a_memo_number_hides_nothing(level):
    """The C unpickler reads p15 and goes on; the Python one raises."""
    data = b"\x80\x02Vos\np15\x00\n0g15\x00\ncos\ngetpid\n)R."
    found = recorder(pickle.Unpickler, data)
    found.load()
    assert found.names == {("os", "getpid")}
    assert level(data) == "dangerous"


def test_opcode_positions_agree_with_pickletools():
    """Each handler and fast path consumes exactly what CPython's own table says an opcode takes."""
    for value in (
        *SEEDS,
        list(range(300)),
        [0.5] * 9,
        [2**40, -(2**70), 2**2100],
        ["é" * 200, b"x" * 300, bytearray(5)],
        [None, True] * 4,
    ):
        for protocol in range(6):
            data = pickle.dumps(value, protocol)
            positions = [pos for _, _, pos in pickletools.genops(data)]
            for pos, following in itertools.pairwise(positions):
                handler = opcodes.SLOW.get(data[pos])
                step = machine._STEP[data[pos]]
                if step:
                    assert pos + step == following
                elif handler in {
                    opcodes._lined,
                    *(opcodes.SLOW[code] for code in b"UC\x8c\x8aBXT\x8b\x8d\x8e\x96"),
                }:
                    assert handler(opcodes.State(data, Judge(data)), pos) == following


def test_every_opcode_of_pickletools_is_known():
    assert {ord(op.code) for op in pickletools.opcodes} == opcodes.VALID


def test_constants_decode_as_cpython_decodes_them():
    for value in (
        0,
        1,
        255,
        256,
        65535,
        65536,
        -1,
        2**31,
        -(2**40),
        2**2100,
        1.5,
        -0.0,
        "a",
        "é\n\\",
        "x" * 300,
        None,
        True,
        False,
        b"ab",
        b"x" * 300,
    ):
        for protocol in range(6):
            data = pickle.dumps(value, protocol)
            if isinstance(value, bytes) and protocol < 3:
                continue
            start = next(pos for op, _, pos in pickletools.genops(data) if op.name not in {"PROTO", "FRAME"})
            assert constant(data, start) == value
            assert kind(data, start) == {type(None): "none"}.get(type(value), type(value).__name__)


@SETTINGS
@given(st.binary(max_size=400))
def test_random_bytes_never_crash(data):
    scan(data)
    scan(data, joblib=True, loader="torch-legacy")
    try:
        inspect_bytes(data, "x")
    except FileDamaged:
        assert True


@SETTINGS
@given(st.lists(st.sampled_from(sorted(opcodes.VALID)), max_size=200), st.binary(max_size=50))
def test_random_opcodes_never_crash(codes, tail):
    scan(bytes(codes) + tail)
    scan(b"\x80\x04" + bytes(codes) + tail, joblib=True)


@pytest.mark.parametrize(
    "prefix",
    [
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00",
        b"PK\x05\x06",
        b"\x1f\x8b\x08\x00",
        b"\x04\x22\x4d\x18",
        b"{L",
        b"\x08\x07",
        b"\x80\x02",
        b"x\x9c",
    ],
)
def test_damaged_files_of_every_kind_never_crash(prefix):
    rng, refused = random.Random(0), 0
    for size in (0, 1, 3, 17, 40, 200, 1000):
        for _ in range(20):
            try:
                assert inspect_bytes(prefix + rng.randbytes(size), "x").verdict in {
                    "inert",
                    "dangerous",
                    "unproven",
                    None,
                }
            except FileDamaged:
                refused += 1
    assert refused <= 7 * 20


def test_the_memo_counts_like_cpythons():
    memo = put([], 0, 5)
    memo = put(memo, 1, 6)
    assert memo == [5, 6]
    memo = put(memo, 9, 7)
    assert isinstance(memo, Sparse)
    memo.append(8)
    assert (len(memo), memo[0], memo[9], memo[3], has(memo, 4)) == (4, 5, 7, 8, False)
    fork = Sparse(memo)
    fork[0] = 1
    assert (fork[0], memo[0], fork[9]) == (1, 5, 7)


def test_wide_containers_are_bounded_in_memory_and_too_wide_a_state_is_unproven(level):
    wide = {f"a{i}": i for i in range(9000)}
    assert level(pickle.dumps(wide)) == "inert"
    stated = (
        b"\x80\x04\x8c\x0csklearn.base\x8c\x01x0\x8c\x14sklearn.svm._classes\x8c\x03SVC\x93)\x81"
        + pickle.dumps(wide)[11:-1]
        + b"b."
    )
    assert level(stated) == "unproven"


def both(data, **options):
    """Events of a walk with jumps over plain data, and of one without."""
    jumped = scan(data, **options)
    slow = streams._scan(data, Judge(data, jumps=False), joblib=False, start=0, **options)
    facts = [
        sorted(
            (event.level, event.rule, event.message, event.call or "", event.pos) for event in result.events
        )
        for result in (jumped, slow)
    ]
    assert (jumped.streams, jumped.end, jumped.unread) == (slow.streams, slow.end, slow.unread), data
    return facts


@pytest.fixture
def eager(monkeypatch):
    """Jumps in small buffers too; gives the bytes jumped over."""
    spans, original = [], runs.jump

    def jump(state, pos):
        end = original(state, pos)
        spans.append(end - pos)
        return end

    monkeypatch.setattr(runs, "SMALL", 0)
    monkeypatch.setattr(rows, "LEAST", 20)
    monkeypatch.setattr(runs, "jump", jump)
    return lambda: sum(spans)


def rows_of(kind, count=700):
    rng = random.Random(0)
    return {
        "tuples": lambda: [(rng.randrange(99999), rng.randrange(300), 1) for _ in range(count)],
        "nested": lambda: [((i, -i), (i % 5, (1.5, i))) for i in range(count)],
        "text": lambda: [f"s{i}" for i in range(10 * count)],
        "dictionaries": lambda: [{"a": i, "b": rng.random(), "c": f"x{i}"} for i in range(count)],
        "lists": lambda: [[i, i + 1, None, True] for i in range(count)],
        "sets": lambda: [{i, i + 1} for i in range(count)],
        "documents": lambda: [
            {"id": i, "tags": [f"a{i % 50}", "b"], "at": {"x": i / 2}, "ok": True} for i in range(count)
        ],
        "table": lambda: {f"k{i}": (i, "v") for i in range(12 * count)},
        "dates": lambda: [dt.date.fromordinal(700_000 + i) for i in range(count)],
        "decimals": lambda: [decimal.Decimal(i) / 7 for i in range(count)],
        "instances": lambda: [uuid.UUID(int=i) for i in range(count)],
        "mixed": lambda: [
            [i, f"n{i}", None if i % 50 else decimal.Decimal(i), (i, [i]), {"k": 2.5}] for i in range(count)
        ],
        "deque": lambda: collections.deque((i, "x") for i in range(count)),
    }[kind]()


KINDS = [
    "tuples",
    "nested",
    "text",
    "dictionaries",
    "lists",
    "sets",
    "documents",
    "table",
    "deque",
    "dates",
    "decimals",
    "mixed",
]


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [(kind, protocol) for kind in KINDS for protocol in (2, 4) if (kind, protocol) != ("sets", 2)],
)
def test_plain_rows_are_jumped_over_and_judged_as_without_jumps(eager, kind, protocol):
    data = pickle.dumps(rows_of(kind), protocol)
    jumped, slow = both(data)
    assert jumped == slow == []
    assert eager() > (0.3 if kind == "table" else 0.5) * len(data)  # of a table, 4,096 entries are kept


def test_rows_that_are_judged_by_more_than_their_shape_are_walked_each(eager):
    """A dtype may not change after it was used, and an array is judged by its shape: no row stands for others."""
    import numpy as np

    for values in ([np.dtype([("a", f"S{i}")]) for i in range(1, 200)], [np.arange(2) for _ in range(200)]):
        jumped, slow = both(pickle.dumps(values, 4))
        assert jumped == slow == []
        assert eager() == 0


def test_one_bad_row_among_those_of_another_shape_is_found(eager, calls):
    """Memo entry 3 is datetime.date, 4 is text, 5 is os.system."""
    names = b"\x8c\x08datetime\x94\x8c\x04date\x94\x93\x940\x8c\x02id\x940cos\nsystem\n\x940"
    good = [b"h\x03C\x04\x07\xe8\x01%c\x85R" % (1 + i % 28) for i in range(300)]
    for at in (70, 150, 299):
        rows = b"".join([*good[:at], b"h\x05h\x04\x85R", *good[at:]])
        data = b"\x80\x04]\x94" + names + b"(" + rows + b"e."
        jumped, slow = both(data)
        assert jumped == slow
        assert calls(data) == ["os.system('id')"]
    assert eager() > 1000


@pytest.mark.parametrize(
    ("row", "memos"),
    [
        (b"h\x05C\x04\x07\xe8\x01\x01\x94\x85\x94R\x94", 3),
        (b"]\x94(K\x01\x8c\x02ab\x94e", 2),
        (b"}\x94(h\x05K\x01h\x06Nu", 1),
        (b"K\x01K\x02K\x03\x87\x94", 1),
        (b"h\x05)\x81\x94}\x94(h\x06K\x01ub", 2),
        (b"K\x01\x86", None),  # takes what lies below the row
        (b"(K\x01", None),  # leaves a mark open
        (b"e", None),
        (b"K\x010K\x01", None),  # POP
        (b"h\x05b", None),
        (b"cos\nsystem\n", None),
        (b"K\x01Q", None),
        (b"K\x01\x8c\xff" + b"x" * 255 + b"\x86", None),
        (b"M\x01", None),  # cut short
    ],
)
def test_the_shape_of_a_row(row, memos):
    found = rows.shape(row, 0, len(row))
    assert (found.memos if found else None) == memos
    if found:
        assert re.fullmatch(found.pattern.encode("latin-1"), row, re.DOTALL)


def test_rows_of_one_shape_differ_in_constants_of_one_kind_only():
    row = rows.shape(b"K\x01\x8c\x01a\x94h\x05\x87\x94", 0, 10)
    pattern = re.compile(row.pattern.encode("latin-1"), re.DOTALL)
    for same in (b"M\x01\x02\x8c\x02\x94\x94\x94h\x05\x87\x94", b"J\x01\x02\x03\x04\x8c\0\x94h\x05\x87\x94"):
        assert pattern.fullmatch(same)
    for other in (
        b"N\x8c\x01a\x94h\x05\x87\x94",
        b"K\x01\x8c\x01a\x94h\x06\x87\x94",
        b"K\x01\x8c\x02a\x94h\x05\x87\x94",
    ):
        assert not pattern.fullmatch(other)


def test_a_small_buffer_is_not_worth_the_expressions():
    data = pickle.dumps(rows_of("tuples"))
    runs._expression.cache_clear()
    assert scan(data).events == []
    assert runs._expression.cache_info().currsize == 0


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_rows_are_judged_as_without_jumps(eager, kind):
    """Damage, an import, a POP or a memo entry read back, anywhere: events, calls and positions are the same."""
    values, found = rows_of(kind, 150), set()
    extra = [
        b"cos\nsystem\n",
        b"cos\nsystem\n(X\x02\0\0\0idtR",
        b"0",
        b"2",
        b"h\x05",
        b"1",
        b"q\x04",
        b"e",
        b"(",
        b"\x94",
    ]
    for seed in range(60):
        rng = random.Random(seed)
        data = bytearray(pickle.dumps([values, len, values], rng.choice([1, 2, 3, 4, 5])))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data) // 2, len(data))
            data[at : at + rng.randint(0, 2)] = rng.choice(extra)
        jumped, slow = both(bytes(data))
        assert jumped == slow, bytes(data)
        found |= {level for level, *_ in slow}
    assert "dangerous" in found
    assert eager() > 0


def rows_then(tail, count=200):
    """A list of [i, text] rows of protocol 4, numbered 0 and then 2i + 1 and 2i + 2; then `tail`."""
    rows = b"".join(
        b"]\x94(K%c\x8c\x02%02xe" % (i % 250, i % 250) if i else b"]\x94(K\0\x8c\x0200e" for i in range(count)
    )
    return b"\x80\x04]\x94(" + rows + b"e" + tail


APPENDED = b"j\x64\0\0\0cos\nsystem\na0."


@pytest.mark.parametrize(
    ("tail", "wanted"),
    [
        (b".", "inert"),
        (b"j\x64\0\0\0K\x01a0.", "inert"),  # a row is read back and changed
        (APPENDED, "dangerous"),
        (b"j\x64\0\0\0cnobody\nknows\na0.", "unproven"),
        (b"ccollections\ndeque\nh\x00\x85R.", "inert"),
        (b"cfunctools\nreduce\nh\x00\x85R.", "dangerous"),
    ],
)
def test_a_row_that_was_jumped_over_can_still_be_changed(eager, level, tail, wanted):
    data = rows_then(tail)
    jumped, slow = both(data)
    assert jumped == slow
    assert level(data) == wanted
    assert eager() > 500


def test_text_that_was_jumped_over_can_still_name_an_import(eager, calls):
    """Two memoized strings in the middle of a long list are read back as module and name."""
    data = pickle.dumps([*(f"s{i}" for i in range(1100)), "os", "system", *map(str, range(900))], 4)
    tail = (
        b"j" + (1101).to_bytes(4, "little") + b"j" + (1102).to_bytes(4, "little") + b"\x93\x8c\x02id\x85R0."
    )
    jumped, slow = both(data[:-1] + tail)
    assert jumped == slow
    assert calls(data[:-1] + tail) == ["os.system('id')"]
    assert eager() > 500


def test_values_below_a_jump_that_an_opcode_takes_are_made_again(eager, calls):
    """After rows of numbers, REDUCE takes a function and its argument that stand among them."""
    row = b"K\x01K\x02\x86\x94" * 100
    for lead in range(1, 6):
        data = (
            b"\x80\x04]\x94("
            + b"K\x01" * 70
            + row
            + b"K\x07" * lead
            + b"0" * (lead + 2)
            + b"cos\nsystem\n\x8c\x02id\x85Re."
        )
        jumped, slow = both(data)
        assert jumped == slow
        assert calls(data) == ["os.system('id')"]
    assert eager() > 0


def test_an_early_memo_entry_put_again_among_later_ones_is_seen(eager, calls):
    """Protocol 2, beyond 256 entries: among rows numbered in turn, one puts text over entry 1, a module name."""
    head = b"\x80\x02]q\0(X\x01\0\0\0hq\x01X\x06\0\0\0systemq\x02"
    row = b"K\x01K\x02\x86r%s"
    rows = [row % (3 + i).to_bytes(4, "little") for i in range(600)]
    again = b"".join(rows[:400]) + b"X\x02\0\0\0osq\x01" + b"".join(rows[400:])
    data = head + again + b"h\x01h\x02\x93X\x02\0\0\0id\x85Re."
    jumped, slow = both(data)
    assert jumped == slow
    assert calls(data) == ["os.system('id')"]
    assert eager() > 0


def test_a_memo_entry_that_is_numbered_out_of_turn_ends_a_jump(eager):
    """Protocol 2: an entry that rows already made is replaced, or one is left out."""
    start = b"\x80\x02]q\0(" + b"K\x01" * 70
    rows = b"".join(b"K\x01K\x02\x86q%c" % (1 + i) for i in range(100))
    for number in (1, 50, 101, 200):
        put = b"ccollections\ndeque\n0X\x02\0\0\0hiq%c" % number
        data = start + rows + put + rows[:60] + b"h%ch\x05e." % number
        jumped, slow = both(data)
        assert jumped == slow, number
    assert eager() > 0
