"""Shapes of plain rows: what is read ahead, what is passed over, and that nothing changes by it."""

import itertools
import pickle
import random
import re
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modelward.artifact.pickle import rows, runs, shapes, streams
from modelward.artifact.pickle.judge import Judge
from modelward.artifact.pickle.shapes import Ahead, Shapes
from modelward.artifact.pickle.streams import scan
from modelward.artifact.pickle.values import holds

SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def eager():
    """Jumps in small buffers too; gives the bytes that shapes passed over."""
    spans, original, patch = [], runs._shaped, pytest.MonkeyPatch()

    def shaped(state, memo, pos, how):
        found = original(state, memo, pos, how)
        spans.append(found[0] - pos if found else 0)
        return found

    patch.setattr(runs, "SMALL", 0)
    patch.setattr(rows, "LEAST", 12)
    patch.setattr(runs, "_shaped", shaped)
    yield lambda: sum(spans)
    patch.undo()


def facts(result):
    events = sorted((e.level, e.rule, e.message, e.call or "", e.pos) for e in result.events)
    return events, result.streams, result.end, result.unread


def same(data):
    """What both walks find, which is the same."""
    jumped = facts(scan(data))
    assert jumped == facts(streams._scan(data, Judge(data, jumps=False), joblib=False, start=0)), data
    return jumped


constants = (
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=30)
)  # fmt: skip
records = st.recursive(
    constants,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4)
        | st.sets(st.integers(0, 300), max_size=3)
    ),
    max_leaves=12,
)


@SETTINGS
@given(st.lists(records, min_size=1, max_size=4), st.integers(0, 5), st.randoms(use_true_random=False))
def test_rows_of_few_shapes_are_judged_as_without_jumps(eager, kinds, protocol, rng):
    values = [rng.choice(kinds) for _ in range(150)]
    values = [pickle.loads(pickle.dumps(value)) for value in values]
    assert same(pickle.dumps(values, protocol))[0] == []
    assert same(pickle.dumps(dict(enumerate(values)), protocol))[0] == []


PIECES = [
    b"K\x01", b"M\x01\x02", b"N", b"\x88", b"G12345678", b"\x8c\x02ab", b"\x8c\x02ab\x94", b"X\x01\0\0\0a", b"\x94", b"(",
    b")", b"]", b"]\x94", b"}", b"\x8f", b"\x85", b"\x86", b"\x87", b"t", b"e", b"u", b"a", b"s", b"\x90", b"\x91", b"l",
    b"d", b"0", b"1", b"2", b"I1\n", b"F1.5\n", b"L12L\n", b"S'a'\n", b"Vab\n", b"Iwrong\n", b"p3\n", b"p400\n", b"p\n",
    b"g0\n", b"g1\n", b"g01\n", b"h\x00", b"h\x01", b"h\x02", b"j\x03\0\0\0", b"q\x01", b"r\x00\x02\0\0", b"R", b"b",
    b"\x81", b".", b"\x95\x05\0\0\0\0\0\0\0", b"cos\nsystem\n", b"\x93", b"Q", b"\x80\x02",
]  # fmt: skip
ROWS = [
    b"K\x01K\x02\x86\x94", b"(K\x01Nt\x94", b"]\x94(K\x01K\x02e", b"}\x94(h\x01K\x01u", b"\x8c\x03abc\x94", b"K\x01",
    b"(I1\nI2\nta", b"I7\na", b"(lI1\naa", b"(dVa\nI1\nsa", b"K\x01\x85a", b"h\x01K\x02s", b"\x8f(K\x01\x90",
]  # fmt: skip
HEADS = [
    b"\x80\x04]\x94\x8c\x02os\x940(", b"(lp0\nVos\np1\n0", b"\x80\x04}\x94\x8c\x02os\x940(",
    b"\x80\x04\x8c\x01a\x94cos\nsystem\n\x940]\x94(", b"\x80\x02}q\x00X\x02\0\0\0osq\x010(",
    b"\x80\x04ccollections\ndeque\n\x94)R\x94(",
]  # fmt: skip


@SETTINGS
@given(
    st.sampled_from(HEADS),
    st.lists(st.tuples(st.sampled_from(ROWS), st.integers(1, 90)), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 3), st.lists(st.sampled_from(PIECES), max_size=4)),
        max_size=4,
    ),
    st.sampled_from([b"e.", b"u.", b".", b"", b"t.", b"a.", b"ch\nh\x01h\x00R."]),
)
@example(HEADS[3], [(ROWS[0], 90)], [(500, 0, [b"h\x01", b"\x8c\x02ab", b"\x85", b"R"])], b"e.")
@example(HEADS[1], [(ROWS[7], 90)], [(200, 0, [b"g0\n", b"a"])], b".")
def test_streams_that_are_spoilt_are_judged_as_without_jumps(eager, head, runs_of, edits, tail):
    """Rows, then a few bytes taken away and opcodes put in: wrong numbers, marks, calls, names, frames, STOP."""
    body = bytearray(head + b"K\x01" * 70 + b"".join(row * count for row, count in runs_of))
    for at, gone, pieces in edits:
        start = at % len(body)
        body[start : start + gone] = b"".join(pieces)
    same(bytes(body) + tail)


def test_enough_of_these_streams_were_jumped_over(eager):
    before = eager()
    for row, protocol in itertools.product(((1, 2), [1, 2], {"a": 1}, "ab", (1, (2, 3))), (0, 1, 2, 4)):
        data = pickle.dumps([pickle.loads(pickle.dumps(row)) for _ in range(3000)], protocol)
        start = eager()
        assert same(data)[0] == []
        assert eager() - start > 0.4 * len(data), (row, protocol)
    assert eager() > before


def appended(count, tail):
    """A list of protocol 0 with `count` pairs, memo entry i + 1 each, and what follows it."""
    return b"(lp0\n" + b"".join(b"(I%d\nI2\ntp%d\na" % (i, i + 1) for i in range(count)) + tail


@pytest.mark.parametrize(
    ("tail", "wanted"),
    [
        (b".", "inert"),
        (b"g50\na.", "inert"),
        (b"cos\nsystem\na.", "dangerous"),
        (b"cos\nsystem\n(Vid\ntR.", "dangerous"),
        (b"cfunctools\nreduce\n(g0\ntR.", "dangerous"),
        (b"ccollections\ndeque\n(g0\ntR.", "inert"),
    ],
)
def test_a_list_of_protocol_0_is_passed_over_and_can_still_be_used(eager, level, tail, wanted):
    data = appended(400, tail)
    start = eager()
    same(data)
    assert eager() - start > len(data) // 2
    assert level(data) == wanted


@pytest.mark.parametrize("wrong", [b"p7\n", b"p0\n", b"p9999\n", b"p 300\n", b"p0300\n", b"p\n", b"p-1\n"])
def test_numbers_of_protocol_0_out_of_turn_are_walked(eager, calls, wrong):
    """An entry that is put over another one, leaves a gap, or is spelled otherwise, is what it is without jumps."""
    payload = b"Vos\n" + wrong + b"0Vsystem\np2000\n0g" + wrong[1:-1] + b"\ng2000\n\x93(Vid\ntR."
    data = appended(200, b"") + b"(I1\nI2\nt" + wrong + b"a" + appended(100, b"")[5:] + payload
    found = same(data)
    if wrong in {b"p7\n", b"p0\n", b"p9999\n"}:
        assert any(call == "os.system('id')" for *_, call, _ in found[0])


def test_a_memo_entry_that_is_a_callable_is_never_plain(eager, calls):
    """Rows read entry 1 back; where it is a function, they are walked, and the call among them is found."""
    row = b"h\x01K\x01\x86\x94"
    for first, wanted in ((b"\x8c\x02id\x94", []), (b"cos\nsystem\n\x94", ["os.system('id')"])):
        data = b"\x80\x04]\x94" + first + b"0(" + row * 200 + b"h\x01\x8c\x02id\x85R" * bool(wanted) + b"e."
        same(data)
        assert calls(data) == wanted


def ahead(data, into=None, values=1):
    return [
        "".join(op if op.isprintable() else f"<{ord(op):02x}>" for op in ops)
        for ops, _ in Ahead(data, into, values).rows
    ]


def test_the_rows_that_are_read_ahead():
    assert ahead(b"K\x01K\x02\x86\x94" * 4) == ["<00><00><86><94>"]  # the last two may go into a tuple
    assert ahead(b"(K\x01t" * 4) == ["(<00>t"]
    assert ahead(b"}(K\x01K\x02u" * 4) == ["}(<00><00>u"]
    assert ahead(b"K\x01K\x02" * 4, values=2) == ["<00><00>"]
    assert ahead(b"(I1\nI2\nta" * 2, into="list") == ["(<00><00>ta"] * 2
    assert ahead(b"I1\nI2\ns" * 2, into="dict") == ["<00><00>s"] * 2
    assert ahead(b"(lI1\naa", into="list") == ["(l<00>aa"]


@pytest.mark.parametrize(
    ("data", "into"),
    [
        (b"\x86K\x01K\x01K\x01", None),  # takes what lies below
        (b"\x94K\x01K\x01K\x01", None),
        (b"eK\x01K\x01K\x01", None),
        (b"}(K\x01u" * 4, None),  # a key without a value
        (b"](K\x01u" * 4, None),  # items of another kind
        (b"}(K\x01e" * 4, None),
        (b"h\x01(K\x01e" * 4, None),  # a container from elsewhere
        (b"h\x01K\x01a" * 4, None),
        (b"cos\nsystem\n" * 4, None),
        (b"K\x01Q" * 4, None),
        (b"\x85a" * 4, "list"),  # takes the container itself
        (b"K\x01\x86a" * 4, "list"),
        (b"(K\x01e" * 4, "list"),
        (b"p5\nI1\na", "list"),
        (b"K\x01K\x01s" * 4, "list"),
        (b"K\x01a" * 4, "dict"),
        (b"I1", "list"),
    ],
)
def test_what_is_no_row(data, into):
    assert ahead(data, into) == []


def learned(data, into=None):
    found = Shapes()
    assert found.learn(Ahead(data, into, 1).rows)
    return found


def test_shapes_of_the_same_opcodes_are_one_with_all_kinds_that_were_seen():
    found = learned(b"K\x01N\x86\x94" * 3 + b"M\x01\x02\x8c\x01a\x86\x94" * 4)
    for row in (b"K\x01N\x86\x94", b"J1234\x8c\x07abcdefg\x86\x94", b"K\x01\x88\x86\x94"):
        assert found.match(row * 9, 0, 9 * len(row)) == 9 * len(row)
        assert found.entries(row * 99, 0, 99 * len(row), 5) == 99
    for row in (b"K\x01G12345678\x86\x94", b"K\x01\x8c\x08abcdefgh\x86\x94", b"K\x01N\x86", b"NN\x86\x94"):
        assert found.match(row, 0, len(row)) == 0


def test_memo_entries_are_counted_by_shape():
    found = learned(b"K\x01N\x86\x94" * 4 + b"]\x94(\x8c\x01a\x94e" * 4)
    rng = random.Random(0)
    parts = [rng.choice([(b"K\x01N\x86\x94", 1), (b"]\x94(\x8c\x01a\x94e", 2)]) for _ in range(300)]
    data = b"".join(part for part, _ in parts)
    assert found.match(data, 0, len(data)) == len(data)
    assert found.entries(data, 0, len(data), 0) == sum(count for _, count in parts)
    assert found.before(data, 0, len(data), 3) == len(data) - sum(len(part) for part, _ in parts[-3:])


@pytest.mark.parametrize("style", ["r", "p"])
def test_numbered_entries_count_only_in_turn(style):
    def put(number):
        return b"r" + number.to_bytes(4, "little") if style == "r" else b"p%d\n" % number

    found = learned(b"".join(b"K\x01K\x02\x86" + put(300 + i) for i in range(9)))
    numbers = list(range(300, 400))
    for wrong in (None, 0, 50, 99):
        chosen = [7 if at == wrong else number for at, number in enumerate(numbers)]
        data = b"".join(b"K\x01K\x02\x86" + put(number) for number in chosen)
        assert found.match(data, 0, len(data)) == len(data)
        assert found.entries(data, 0, len(data), 300) == (100 if wrong is None else None)
        assert found.entries(data, 0, len(data), 299) is None


def test_only_a_few_entries_are_read_back_in_one_place():
    few, many = Shapes(), Shapes()
    assert few.learn(Ahead(b"".join(b"h%c\x85" % (i % 8) for i in range(40)), None, 1).rows)
    many.learn(Ahead(b"".join(b"h%c\x85" % i for i in range(40)), None, 1).rows)
    assert few.keys == set(range(8))
    assert len(many.keys) <= shapes.GETS


def test_the_number_of_shapes_is_bounded():
    found = Shapes()
    for size in range(60):
        found.learn(Ahead((b"(" + b"K\x01" * size + b"t") * 4, None, 1).rows)
    assert len(found._known) == shapes.SHAPES
    assert found.compiled <= shapes.SHAPES


@given(st.binary(max_size=300), st.sampled_from([None, "list", "dict"]), st.sampled_from([1, 2]))
def test_reading_ahead_takes_any_bytes(data, into, values):
    for ops, choices in Ahead(data, into, values if into is None else 1).rows:
        re.compile(shapes._expression(ops, choices).replace("<put>", "").encode("latin-1"))


def test_a_word_is_found_wherever_pieces_meet(tmp_path):
    import mmap

    path = tmp_path / "long"
    for at in (0, (1 << 17) - 3, 1 << 17, (1 << 18) - 1, 300_000):
        content = bytearray(300_004)
        content[at : at + 4] = b"word"
        path.write_bytes(content)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            assert holds(data, (b"none", b"word"))
            assert holds(bytes(content), (b"word",))
            assert not holds(data, (b"worse",))
            assert not holds(data, (b"word",), at + 1)


def test_marks_in_rows_count_for_the_bound_of_the_machine(eager):
    """With 4,000 marks open, rows that open a hundred more are broken, jumped over or not."""
    row = b"(" * 100 + b"K\x01" + b"t" * 100
    head = b"\x80\x04" + b"(" * 4000 + b"]\x94(" + b"K\x01" * 70
    found = same(head + row * 20 + b"e" + b"t" * 4000 + b".")
    assert [rule for _, rule, *_ in found[0]] == ["pickle.broken"]


HOSTILE = {
    "taken": b"\x80\x04]\x94(" + (b"K\x01K\x02\x86\x94" * 40 + b"K\x01\x87") * 4000,
    "dropped": b"\x80\x04]\x94(" + (b"K\x01K\x02\x86\x94" * 40 + b"2") * 4000,
    "numbers": b"(lp0\n" + b"I1\na" * 200 + b"(I1\nI2\ntp7\na" * 70_000,
    "read back": b"(lp0\n" + b"I1\na" * 200 + b"g0\na" * 250_000,
    "nested": b"\x80\x04]\x94(" + b"]2(K\x01e" * 150_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_streams_of_a_megabyte_take_no_more_than_a_few_times_the_walk(name):
    """Least of two: the time grows with the size and not with its square."""
    times = []
    for size in (len(HOSTILE[name]) // 4, len(HOSTILE[name])):
        data = HOSTILE[name][:size]
        spent = []
        for _ in range(2):
            start = time.process_time()
            scan(data)
            spent.append(time.process_time() - start)
        times.append(min(spent))
    assert times[1] < 12 * times[0] + 0.3
