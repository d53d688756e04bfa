"""Which rows changed: known edits, any edits, and edits of tables longer than what is held."""

import difflib
import hashlib
import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import InputError
from modelward.vault.tables import alignment
from modelward.vault.tables.alignment import WIDTH, Digests, Gap, gaps
from modelward.vault.tables.differences import Side, Span, changed_groups, difference
from modelward.vault.tables.manifest import manifest
from modelward.vault.tables.reading import TableOptions


def digests_of(stream, words):
    held = Digests(stream)
    held.append([hashlib.sha256(str(word).encode()).digest() for word in words])
    return held


@pytest.fixture
def align(tmp_path):
    def run(old, new):
        with (tmp_path / "a").open("w+b") as a, (tmp_path / "b").open("w+b") as b:
            return list(gaps(digests_of(a, old), digests_of(b, new)))

    return run


def require_explains(old, new, found):
    """What is outside the gaps is equal; gaps are in order and do not touch."""
    a = c = 0
    for place, gap in enumerate(found):
        assert old[a : gap.a] == new[c : gap.c]
        assert gap.a <= gap.b
        assert gap.c <= gap.d
        assert gap.b - gap.a + gap.d - gap.c > 0
        assert place == 0 or gap.a > a or gap.c > c
        a, c = gap.b, gap.d
    assert old[a:] == new[c:]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ("abc", "abc", []),
        ("", "ab", [Gap(0, 0, 0, 2)]),
        ("ab", "", [Gap(0, 2, 0, 0)]),
        ("abc", "axc", [Gap(1, 2, 1, 2)]),
        ("abc", "xabc", [Gap(0, 0, 0, 1)]),
        ("abc", "abcx", [Gap(3, 3, 3, 4)]),
        ("abcdef", "acdxef", [Gap(1, 2, 1, 1), Gap(4, 4, 3, 4)]),
        ("abc", "xyz", [Gap(0, 3, 0, 3)]),
        ("aaaa", "aaa", [Gap(3, 4, 3, 3)]),
        ("aabaa", "aacaa", [Gap(2, 3, 2, 3)]),
        ("abab", "baba", [Gap(0, 0, 0, 1), Gap(3, 4, 4, 4)]),
    ],
)
def test_known_edits(align, old, new, expected):
    assert align(old, new) == expected


def test_an_inserted_row_changes_nothing_after_it(align):
    old = list(range(5000))
    assert align(old, ["new", *old]) == [Gap(0, 0, 0, 1)]
    assert align(old, [*old[:2500], "new", *old[2500:]]) == [Gap(2500, 2500, 2500, 2501)]
    assert align(old, old[:7] + old[8:]) == [Gap(7, 8, 7, 7)]


def test_a_moved_block_is_removed_and_added(align):
    old = list(range(1000))
    new = old[:100] + old[200:900] + old[100:200] + old[900:]
    found = align(old, new)
    require_explains(old, new, found)
    assert sum(gap.b - gap.a for gap in found) == 100


def test_rows_that_repeat_are_told_apart_by_their_neighbours(align):
    """No row occurs once: 40 distinct rows, 4,000 of them."""
    random = np.random.default_rng(5)
    old = random.integers(0, 40, 4000).tolist()
    new = [*old[:1000], 77, *old[1000:3000], *old[3001:]]
    found = align(old, new)
    require_explains(old, new, found)
    assert sum(gap.b - gap.a + gap.d - gap.c for gap in found) <= 2


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), max_size=60), st.data())
def test_any_edits_are_explained(align, old, data):
    new = list(old)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(new)))
        new[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.lists(st.integers(0, 12), max_size=3)
        )
    found = align(old, new)
    require_explains(old, new, found)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([30, 1000, 10**9]))
def test_long_tables_are_explained_with_a_small_window(align, seed, distinct):
    random = np.random.default_rng(seed)
    old = random.integers(0, distinct, int(random.integers(0, 900))).tolist()
    new = list(old)
    for _ in range(int(random.integers(0, 8))):
        place, width = int(random.integers(0, len(new) + 1)), int(random.integers(0, 200))
        new[place : place + int(random.integers(0, 200))] = random.integers(0, distinct, width).tolist()
    window = alignment.WINDOW
    alignment.WINDOW = 64
    try:
        require_explains(old, new, align(old, new))
    finally:
        alignment.WINDOW = window


def test_an_insertion_longer_than_the_window_is_found(monkeypatch, align):
    monkeypatch.setattr(alignment, "WINDOW", 256)
    old = list(range(20_000))
    inserted = [f"new {place}" for place in range(3000)]
    assert align(old, old[:9000] + inserted + old[9000:]) == [Gap(9000, 9000, 9000, 12_000)]
    assert align(old[:9000] + inserted + old[9000:], old) == [Gap(9000, 12_000, 9000, 9000)]
    edited = [*inserted, *old[:4000], *old[4001:15_000], "x", *old[15_001:]]
    assert align(old, edited) == [
        Gap(0, 0, 0, 3000),
        Gap(4000, 4001, 7000, 7000),
        Gap(15_000, 15_001, 17_999, 18_000),
    ]


def test_tables_without_anything_in_common_are_one_gap(monkeypatch, align):
    monkeypatch.setattr(alignment, "WINDOW", 64)
    assert align(range(1000), range(1000, 1700)) == [Gap(0, 1000, 0, 700)]


def test_long_tables_of_repeated_rows_are_explained(monkeypatch, align):
    monkeypatch.setattr(alignment, "WINDOW", 128)
    old = [0, 1] * 2000
    new = [0, 1] * 300 + [5] + [1, 0] * 1500
    require_explains(old, new, align(old, new))


def test_rows_that_nothing_tells_apart_are_compared_in_their_places(align):
    old = [0] * 5000
    new = [1 if place % 100 == 50 else 0 for place in range(5000)]
    assert align(old, new) == [Gap(place, place + 1, place, place + 1) for place in range(50, 5000, 100)]
    longer = align(old, [*new, 0, 0])
    require_explains(old, [*new, 0, 0], longer)
    assert sum(gap.d - gap.c for gap in longer) <= 60


def test_a_pair_of_changed_rows_differs(align):
    random = np.random.default_rng(8)
    for _ in range(30):
        old, new = (random.integers(0, 3, int(random.integers(100, 900))).tolist() for _ in range(2))
        for gap in align(old, new):
            pairs = min(gap.b - gap.a, gap.d - gap.c)
            assert all(old[gap.a + k] != new[gap.c + k] for k in range(pairs))


def test_the_longest_increasing_subsequence_against_the_definition():
    random = np.random.default_rng(1)
    for _ in range(200):
        values = random.permutation(int(random.integers(0, 9))).tolist()
        chosen = [values[place] for place in alignment._increasing(values)]
        assert chosen == sorted(chosen)
        best = max(
            (bits.bit_count() for bits in range(1 << len(values))
             if (part := [v for at, v in enumerate(values) if bits >> at & 1]) == sorted(part)), default=0
        )  # fmt: skip
        assert len(chosen) == best


def test_few_edits_cost_no_more_than_difflib_finds(align):
    random = np.random.default_rng(2)
    for _ in range(20):
        old = random.integers(0, 10**6, 300).tolist()
        new = list(old)
        for place in random.integers(0, 290, 5).tolist():
            new[place : place + 2] = random.integers(0, 10**6, int(random.integers(0, 4))).tolist()
        found = align(old, new)
        mine = sum(gap.b - gap.a + gap.d - gap.c for gap in found)
        codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        assert mine <= sum(j - i + m - k for tag, i, j, k, m in codes if tag != "equal")


def test_memory_does_not_grow_with_the_tables(monkeypatch, tmp_path):
    monkeypatch.setattr(alignment, "WINDOW", 1024)

    def peak(rows):
        with (tmp_path / "a").open("w+b") as a, (tmp_path / "b").open("w+b") as b:
            old, new = Digests(a), Digests(b)
            for start in range(0, rows, 1000):
                block = np.random.default_rng(start).bytes(1000 * WIDTH)
                words = [block[at : at + WIDTH] for at in range(0, len(block), WIDTH)]
                old.append(words)
                new.append(words[:500] + [b"\7" * WIDTH] * (start == 1000) + words[500:])
            new.append([b"\1" * WIDTH])
            tracemalloc.start()
            found = list(gaps(old, new))
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert found == [Gap(1500, 1500, 1500, 1501), Gap(rows, rows, rows + 1, rows + 2)]
        return size

    assert peak(40_000) < 2 * peak(10_000)


def edited(table):
    """Row 20 changed, row 130 removed, two rows added before row 210."""
    ages = table["age"].to_pylist()
    ages[20] = -1
    table = table.set_column(1, "age", pa.array(ages))
    extra = table.slice(0, 2).set_column(0, "id", pa.array([9000, 9001]))
    return pa.concat_tables([table.slice(0, 130), table.slice(131, 79), extra, table.slice(210)])


@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows", "csv"])
@pytest.mark.parametrize("pinned", [False, True])
def test_changed_removed_and_added_rows(write, people, ending, pinned):
    table = people(1000)
    paths = write(table, f"a.{ending}"), write(edited(table), f"b.{ending}")
    sides = [
        Side(path=path, manifest=manifest(path, TableOptions(group_rows=None)) if pinned else None)
        for path in paths
    ]
    found = difference(*sides)
    assert found.changed == (Span(20, 20, 1),)
    assert found.removed == (Span(130, 130, 1),)
    assert found.added == (Span(210, 209, 2),)
    assert (found.rows_changed, found.rows_removed, found.rows_added) == (1, 1, 2)
    assert not found.equal
    assert not found.truncated
    assert not found.schema


def test_equal_tables_in_two_formats(write, people):
    table = people(300)
    assert difference(write(table, "a.parquet"), write(table, "b.arrow", 17)).equal
    types = {"id": "int64", "age": "int64", "score": "float64"}
    csv = Side(path=write(table, "c.csv"), options=TableOptions(types=types))
    assert difference(write(table, "a.parquet"), csv).equal


def test_groups_that_both_manifests_list_are_not_read(write, people):
    """The file's other groups are overwritten."""
    table = people(1000)
    ages = table["age"].to_pylist()
    ages[555] = 0
    new_path = write(table.set_column(1, "age", pa.array(ages)), "b.arrow")
    old_path = write(table, "a.arrow")
    old, new = manifest(old_path), manifest(new_path)
    assert changed_groups(old, new) == [Gap(5, 6, 5, 6)]
    data = bytearray(new_path.read_bytes())
    data[1000:2000] = b"\x80" * 1000  # lengths and values of the first group
    new_path.write_bytes(data)
    found = difference(Side(path=old_path, manifest=old), Side(path=new_path, manifest=new))
    assert found.changed == (Span(555, 555, 1),)
    assert difference(old_path, new_path).rows_changed > 1


def test_changed_groups_from_the_manifests_alone(write, people):
    table = people(1000)
    old = manifest(write(table, "a.parquet"))
    assert changed_groups(old, old) == []
    shorter = manifest(write(table.slice(300), "b.parquet"))
    assert changed_groups(old, shorter) == [Gap(0, 3, 0, 0)]
    moved = manifest(write(pa.concat_tables([table.slice(500, 200), table]), "c.parquet"))
    assert changed_groups(old, moved) == [Gap(0, 0, 0, 2)]
    renamed = manifest(write(table.rename_columns(list("abcd")), "d.parquet"))
    assert changed_groups(old, renamed) == [Gap(0, 10, 0, 10)]


def test_columns_that_differ_are_named_and_the_others_compared(write, people):
    table = people(100)
    other = (
        table.drop_columns(["score"])
        .append_column("extra", table["score"])
        .set_column(1, "age", table["age"].cast(pa.int16()))
    )
    ids = other["id"].to_pylist()
    other = other.set_column(0, "id", pa.array([*ids[:-1], -5]))
    found = difference(write(table, "a.parquet"), write(other, "b.parquet"))
    assert set(found.schema) == {
        "column 'score' was removed", "column 'extra' was added", "column 'age' was int64 and is int16",
    }  # fmt: skip
    assert found.changed == (Span(99, 99, 1),)
    assert not found.equal


def test_another_order_of_columns_is_a_difference_of_the_schema_alone(write, people):
    table = people(100)
    found = difference(
        write(table, "a.parquet"), write(table.select(["name", "id", "score", "age"]), "b.parquet")
    )
    assert found.schema == ("the columns stand in another order",)
    assert not found.changed
    assert not found.equal


def test_tables_without_a_common_column_are_refused(write, people):
    table = people(10)
    with pytest.raises(InputError, match="no column of the same name"):
        difference(write(table, "a.parquet"), write(table.rename_columns(list("wxyz")), "b.parquet"))


def test_spans_are_listed_up_to_a_limit_and_counted_beyond(write, people):
    table = people(1000)
    ages = [-1 if place % 10 == 0 else age for place, age in enumerate(table["age"].to_pylist())]
    found = difference(
        write(table, "a.parquet"), write(table.set_column(1, "age", pa.array(ages)), "b.parquet"), limit=30
    )
    assert len(found.changed) == 30
    assert found.rows_changed == 100
    assert found.truncated


def test_rows_in_one_anothers_place_are_changed_pairwise(write, people):
    table, other = people(100), people(7, seed=9).set_column(0, "id", pa.array(range(-7, 0)))
    new = pa.concat_tables([table.slice(0, 40), other, table.slice(45)])
    found = difference(write(table, "a.parquet"), write(new, "b.parquet"))
    assert found.changed == (Span(40, 40, 5),)
    assert found.added == (Span(45, 45, 2),)
    assert found.removed == ()


def test_anchors_of_tables_longer_than_the_window_split_them(monkeypatch, align):
    """Several edits far apart and a long insertion, with few candidates for anchors."""
    monkeypatch.setattr(alignment, "WINDOW", 512)
    old = list(range(30_000))
    new = [
        *old[:100],
        "a",
        *old[100:9000],
        *(f"n{place}" for place in range(2000)),
        *old[9001:29_000],
        *old[29_010:],
    ]
    assert align(old, new) == [
        Gap(100, 100, 100, 101),
        Gap(9000, 9001, 9001, 11_001),
        Gap(29_000, 29_010, 31_000, 31_000),
    ]


def test_rows_whose_digests_agree_by_half_are_not_equal():
    """Half a digest can be made to agree by whoever has the time for 2^32 rows."""
    sides = []
    for half in (b"x", b"y"):
        side = Digests(io.BytesIO())
        side.append([half * 16, b"same" * 2 + half * 8, 2 * half * 8])
        sides.append(side)
    assert list(gaps(*sides)) == [Gap(0, 3, 0, 3)]
