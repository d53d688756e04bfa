"""Tiles: the specification's layout, incremental and never rewritten; every flipped byte is seen."""

import json
import os
import stat
import tracemalloc
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import (
    FileMissing,
    LedgerTampered,
    OutputUnwritable,
    ProofInvalid,
    SealDamaged,
    SealRefused,
)
from modelward.ledger.export import remove_partial, write_tiles
from modelward.ledger.merkle import Frontier, leaf_hash
from modelward.ledger.proof import inclusion_path, tree_root
from modelward.ledger.subtrees import Levels, consistency, inclusion, root_of
from modelward.ledger.tiles import (
    ENTRIES,
    LONGEST_ENTRY,
    LONGEST_RECORD,
    RECORDS,
    Tiles,
    levels,
    read_plain,
    tile_path,
    tiles_at,
)

SPEC = json.loads(
    (Path(__file__).parents[1] / "vectors" / "seal" / "ledger" / "published.json").read_text(encoding="utf-8")
)["spec"]


def body(i):
    return b'{"n":%d}' % i


def bodies():
    return (body(i) for i in count())


def root(size):
    frontier = Frontier()
    for i in range(size):
        frontier.append(body(i))
    return frontier.root()


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def written(folder, size, **options):
    folder.mkdir(exist_ok=True)
    write_tiles(bodies(), folder, size, **options)
    return Tiles(folder, size)


def test_the_path_of_the_specification():
    index, encoded = SPEC["path"]["index"], SPEC["path"]["encoded"]
    assert tile_path(0, index) == f"tile/0/{encoded}"
    assert tile_path(ENTRIES, index) == f"tile/entries/{encoded}"
    assert tile_path(3, index, 17) == f"tile/3/{encoded}.p/17"


@pytest.mark.parametrize(
    ("index", "encoded"),
    [
        (0, "000"),
        (7, "007"),
        (999, "999"),
        (1000, "x001/000"),
        (999_999, "x999/999"),
        (10**6, "x001/x000/000"),
    ],
)
def test_paths(index, encoded):
    assert tile_path(1, index) == f"tile/1/{encoded}"


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_paths_differ_where_tiles_do(one, other):
    assert (tile_path(0, one) == tile_path(0, other)) == (one == other)
    assert int(tile_path(0, one).removeprefix("tile/0/").replace("x", "").replace("/", "")) == one


def test_the_counts_of_the_specification():
    for size, counts in SPEC["tiles"].items():
        found = {}
        for level in levels(int(size)):
            for _, width in tiles_at(int(size), level):
                if width == 256:
                    found[f"full{level}"] = found.get(f"full{level}", 0) + 1
                else:
                    found[f"partial{level}"] = width
        assert found == counts


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65535, 65536, 65537])
def test_every_leaf_is_in_one_tile(size):
    assert sum(width for _, width in tiles_at(size, 0)) == size
    for level in levels(size):
        assert sum(width for _, width in tiles_at(size, level)) == size >> (8 * level)
    assert list(tiles_at(size, len(levels(size)))) == []


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 600])
def test_tiles_lead_to_the_root_and_hold_the_records(tmp_path, size):
    tiles = written(tmp_path / "log", size)
    assert tiles.check(root(size)) == size
    assert root_of(tiles, size) == root(size)
    assert list(tiles.records()) == [(i, body(i)) for i in range(size)]
    assert tiles.record(size - 1) == body(size - 1)
    assert list(tiles.leaves()) == [leaf_hash(body(i)) for i in range(size)]


def test_a_tile_is_its_hashes_and_a_bundle_its_entries(tmp_path):
    written(tmp_path / "log", 257)
    found = files(tmp_path / "log")
    leaves = [leaf_hash(body(i)) for i in range(257)]
    assert found["tile/0/000"] == b"".join(leaves[:256])
    assert found["tile/0/001.p/1"] == leaves[256]
    assert found["tile/1/000.p/1"] == tree_root(leaves[:256])
    assert found["tile/entries/001.p/1"] == len(body(256)).to_bytes(2, "big") + body(256)
    assert found["tile/entries/000"].startswith(b"\x00\x07" + body(0) + b"\x00\x07" + body(1))
    assert set(found) == {
        "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/1",
    }  # fmt: skip


def test_a_log_of_70000_has_the_levels_of_the_specification(tmp_path):
    tiles = written(tmp_path / "log", 70_000, records=False)
    found = files(tmp_path / "log")
    assert len(found) == 273 + 1 + 1 + 1 + 1
    assert {len(data) for name, data in found.items() if ".p/" not in name} == {8192}
    leaves = list(tiles.leaves())
    assert found["tile/2/000.p/1"] == tree_root(leaves[:65536])
    assert tiles.check(tree_root(leaves)) == 0
    assert list(inclusion(tiles, 69_999, 70_000)) == inclusion_path(leaves, 69_999)
    assert consistency(tiles, 65_537, 70_000) == consistency(Levels(leaves), 65_537, 70_000)


def test_proofs_from_tiles_are_those_of_the_leaves(tmp_path):
    tiles = written(tmp_path / "log", 600)
    leaves = [leaf_hash(body(i)) for i in range(600)]
    for index in (0, 1, 255, 256, 257, 511, 512, 599):
        for size in (index + 1, 600):
            assert list(inclusion(tiles, index, size)) == inclusion_path(leaves[:size], index)
    for old in (1, 2, 255, 256, 257, 512, 599, 600):
        assert consistency(tiles, old, 600) == consistency(Levels(leaves), old, 600)


def test_what_is_there_is_never_written_again(tmp_path):
    folder = tmp_path / "log"
    written(folder, 300)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    inodes = {path: path.stat().st_ino for path in before}
    assert write_tiles(bodies(), folder, 300) == 0
    # 300 -> 600: tile 1 becomes full, tile 2 begins, and level 1 grows to two.
    assert write_tiles(bodies(), folder, 600, old=300) == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.stat().st_ino for path in before} == inodes
    assert Tiles(folder, 600).check(root(600)) == 600
    assert Tiles(folder, 300).check(root(300)) == 300  # an older checkpoint still verifies


def test_partial_tiles_go_when_the_full_ones_are_there(tmp_path):
    folder = tmp_path / "log"
    written(folder, 300)
    written(folder, 600, old=300)
    remove_partial(folder, 300, 600)
    names = set(files(folder))
    assert "tile/0/001" in names
    assert not any(name.startswith(("tile/0/001.p", "tile/entries/001.p")) for name in names)
    assert "tile/1/000.p/1" in names  # not full yet: an older checkpoint may need it
    assert Tiles(folder, 300).check(root(300)) == 300  # it reads the beginning of the full tile
    assert Tiles(folder, 600).check(root(600)) == 600
    remove_partial(folder, 300, 600)  # once more changes nothing
    assert set(files(folder)) == names


def test_partial_tiles_stay_while_nothing_replaces_them(tmp_path):
    folder = tmp_path / "log"
    written(folder, 300)
    written(folder, 301, old=300)
    remove_partial(folder, 300, 301)
    assert {"tile/0/001.p/44", "tile/0/001.p/45"} <= set(files(folder))


def test_every_folder_of_a_new_tile_is_made_durable(tmp_path, monkeypatch):
    """A rename is on the disk when the folder that it went into is; the checkpoint must not outlive a tile."""
    synced = []
    monkeypatch.setattr("modelward.ledger.export.sync_folder", synced.append)
    folder = tmp_path / "log"
    written(folder, 600)
    assert set(synced) == {folder, *(path for path in folder.rglob("*") if path.is_dir())}
    assert len(synced) == len(set(synced))
    synced.clear()
    written(folder, 600)  # whoever wrote what is there may have been killed before it was durable
    assert folder / "tile/0/002.p" in synced
    synced.clear()
    written(folder, 512, old=512)  # what a checkpoint names is durable
    assert folder / "tile/0" not in synced


def test_a_folder_that_cannot_be_made_durable(tmp_path, monkeypatch):
    def refused(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("modelward.ledger.export.sync_folder", refused)
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        written(tmp_path / "log", 3)


def test_a_missing_file_is_written_again(tmp_path):
    folder = tmp_path / "log"
    written(folder, 300)
    (folder / "tile/0/000").unlink()
    with pytest.raises(SealDamaged, match=r"tile/0/000 is missing"):
        Tiles(folder, 300).check(root(300))
    assert write_tiles(bodies(), folder, 300, old=300) == 1
    assert Tiles(folder, 300).check(root(300)) == 300


def test_other_records_under_a_published_tile_are_refused(tmp_path):
    folder = tmp_path / "log"
    written(folder, 10)
    with pytest.raises(LedgerTampered, match="holds other records"):
        write_tiles((body(i + 1) for i in range(10)), folder, 10)
    assert Tiles(folder, 10).check(root(10)) == 10


def test_fewer_records_than_the_head_says_are_refused(tmp_path):
    with pytest.raises(LedgerTampered, match="holds 7 records instead of 10"):
        write_tiles((body(i) for i in range(7)), tmp_path, 10)


def test_hashes_alone_hold_no_record(tmp_path):
    tiles = written(tmp_path / "log", 300, records=False)
    assert tiles.check(root(300)) == 0
    assert all(name.startswith(("tile/0", "tile/1")) for name in files(tmp_path / "log"))
    assert b'{"n"' not in b"".join(files(tmp_path / "log").values())
    with pytest.raises(SealDamaged, match="records cannot be read"):
        list(tiles.records())
    assert write_tiles(bodies(), tmp_path / "log", 300, old=300) == 2  # publishing the records later
    assert tiles.check(root(300)) == 300


@pytest.mark.parametrize("extra", [-1, 0, 1, 70_000])
def test_a_record_of_any_length(tmp_path, extra):
    """Lengths have 16 bits in the specification; a longer record moves its bundle, and nothing is cut."""
    long = b'"' + b"x" * (LONGEST_ENTRY + extra - 2) + b'"'
    records = [body(0), long, body(2)]
    write_tiles(iter(records), tmp_path, 3)
    tiles = Tiles(tmp_path, 3)
    kind = ENTRIES if extra <= 0 else RECORDS
    assert set(files(tmp_path)) == {"tile/0/000.p/3", f"tile/{kind}/000.p/3"}
    assert [record for _, record in tiles.records()] == records
    assert tiles.check(tree_root([leaf_hash(record) for record in records])) == 3
    assert tiles.record(1) == long


def test_a_long_record_does_not_move_the_bundles_beside_it(tmp_path):
    records = [body(i) if i != 300 else b"x" * 70_000 for i in range(600)]
    write_tiles(iter(records), tmp_path, 600)
    names = set(files(tmp_path))
    assert {"tile/entries/000", "tile/records/001", "tile/entries/002.p/88"} <= names
    assert not names & {"tile/entries/001", "tile/records/000"}
    assert [record for _, record in Tiles(tmp_path, 600).records()] == records


def test_a_record_that_no_bundle_holds_is_refused(tmp_path):
    with pytest.raises(OutputUnwritable, match="bundle holds") as refused:
        write_tiles(iter([b"x" * (LONGEST_RECORD + 1)]), tmp_path, 1)
    assert "--hashes-only" in refused.value.advice
    assert write_tiles(iter([b"x" * (LONGEST_RECORD + 1)]), tmp_path / "hashes", 1, records=False) == 1


def test_files_are_private(tmp_path):
    folder = tmp_path / "log"
    written(folder, 257)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_every_flipped_byte_of_every_file_is_seen(tmp_path):
    folder = tmp_path / "log"
    tiles = written(folder, 5)
    expected = root(5)
    assert tiles.check(expected) == 5
    seen = 0
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        for place in range(len(whole)):
            for flip in (0x01, 0x80, 0xFF):
                broken = bytearray(whole)
                broken[place] ^= flip
                path.write_bytes(broken)
                with pytest.raises(SealRefused):
                    Tiles(folder, 5).check(expected)
                seen += 1
        path.write_bytes(whole)
    assert seen == 3 * (5 * 32 + 5 * (2 + 7))
    assert Tiles(folder, 5).check(expected) == 5


def test_flipped_bytes_of_upper_tiles_are_seen(tmp_path):
    folder = tmp_path / "log"
    written(folder, 513)
    expected = root(513)
    path = folder / "tile/1/000.p/2"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(ProofInvalid, match=r"tile/1/000\.p/2"):
            Tiles(folder, 513).check(expected)


@pytest.mark.parametrize("name", ["tile/0/000.p/5", "tile/entries/000.p/5"])
@pytest.mark.parametrize("change", [-1, 1, 32, -32, -10_000])
def test_every_other_length_is_seen(tmp_path, name, change):
    folder = tmp_path / "log"
    written(folder, 5)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data + bytes(change) if change > 0 else data[: max(0, len(data) + change)])
    with pytest.raises(SealDamaged):
        Tiles(folder, 5).check(root(5))


def test_reordered_records_are_seen(tmp_path):
    folder = tmp_path / "log"
    written(folder, 5)
    path = folder / "tile/entries/000.p/5"
    data = path.read_bytes()
    path.write_bytes(data[9:18] + data[:9] + data[18:])
    with pytest.raises(ProofInvalid, match="record 0 is not"):
        Tiles(folder, 5).check(root(5))


def test_a_bundle_of_another_log_is_seen(tmp_path):
    written(tmp_path / "log", 5)
    write_tiles((b'{"m":%d}' % i for i in range(5)), tmp_path / "other", 5)
    (tmp_path / "log/tile/entries/000.p/5").write_bytes(
        (tmp_path / "other/tile/entries/000.p/5").read_bytes()
    )
    with pytest.raises(ProofInvalid, match="record 0"):
        Tiles(tmp_path / "log", 5).check(root(5))


def test_few_tiles_are_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("modelward.ledger.tiles._KEPT", 2)
    tiles = written(tmp_path / "log", 2000)
    assert tiles.check(root(2000)) == 2000
    assert len(tiles._read) <= 2
    leaves = [leaf_hash(body(i)) for i in range(2000)]
    assert consistency(tiles, 777, 2000) == consistency(Levels(leaves), 777, 2000)


def test_one_bundle_that_is_missing_is_seen(tmp_path):
    folder = tmp_path / "log"
    written(folder, 300)
    (folder / "tile/entries/000").unlink()
    with pytest.raises(SealDamaged, match="tile/entries/000 is missing"):
        Tiles(folder, 300).check(root(300))


def test_a_pipe_is_not_waited_for(tmp_path):
    folder = tmp_path / "log"
    written(folder, 5)
    for name in ("tile/0/000.p/5", "tile/entries/000.p/5"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    with pytest.raises(SealDamaged, match="missing"):
        Tiles(folder, 5).check(root(5))
    with pytest.raises(FileMissing, match="not a regular file"):
        read_plain(folder / "tile/0/000.p/5", 100)


def test_a_bundle_that_announces_more_than_there_is_takes_no_memory(tmp_path):
    folder = tmp_path / "log"
    write_tiles(iter([b"x" * 70_000]), folder, 1)
    path = folder / "tile/records/000.p/1"
    path.write_bytes(b"\xff\xff\xff\xff" + b"x" * 100)
    with pytest.raises(SealDamaged, match="damaged at its entry 0"):
        Tiles(folder, 1).check(tree_root([leaf_hash(b"x" * 70_000)]))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_as_tile_and_bundle_are_refused(tmp_path_factory, tile, bundle):
    folder = tmp_path_factory.mktemp("log")
    written(folder, 3)
    (folder / "tile/0/000.p/3").write_bytes(tile)
    (folder / "tile/entries/000.p/3").write_bytes(bundle)
    with pytest.raises(SealRefused):
        Tiles(folder, 3).check(root(3))


@given(st.integers(1, 700), st.integers(1, 700))
def test_growing_in_two_steps_gives_the_files_of_one(tmp_path_factory, one, two):
    old, new = sorted((one, two))
    stepwise, at_once = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    written(stepwise, old, records=False)
    written(stepwise, new, old=old, records=False)
    remove_partial(stepwise, old, new)
    written(at_once, new, records=False)
    assert files(at_once).items() <= files(stepwise).items()
    assert Tiles(stepwise, new).check(root(new)) == 0


def test_reading_a_file_stops_at_its_limit(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_plain(path, 5) == b"12345"
    with pytest.raises(SealDamaged, match="longer than the 4 bytes"):
        read_plain(path, 4)
    with pytest.raises(FileMissing, match="No such file"):
        read_plain(tmp_path / "y", 5)
    with pytest.raises(FileMissing, match="not a regular file"):
        read_plain(tmp_path, 5)


def test_a_short_file_takes_no_room_for_a_long_one(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert read_plain(path, 1 << 30) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "tile").write_text("a file where a folder must be")
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        write_tiles(bodies(), tmp_path, 1)
