"""A file hashed in pieces, in any order and by threads, has the root that it has when read once."""

from __future__ import annotations

import os
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.vault.container.pieces import PieceHasher
from modelward.vault.tree.leaves import CHUNK, FileHasher, Leaves

NOISE = os.urandom(9 * CHUNK + 12345)


def plain(data, algorithm="blake3"):
    hasher = FileHasher(algorithm, "data/00000000", len(data))
    hasher.update(data)
    return hasher.root()


def in_pieces(data, cuts, order, algorithm="blake3"):
    hasher = PieceHasher(Leaves(algorithm, "data/00000000", len(data)))
    bounds = [0, *cuts, len(data)]
    for index in order:
        hasher.piece(bounds[index], data[bounds[index] : bounds[index + 1]])
    return hasher.root()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_order_and_bounds_do_not_matter(data):
    """After a first piece of any length, each goes on to the end of a leaf or beyond, or it is the last."""
    cuts, at = [], data.draw(st.integers(0, 2 * CHUNK))
    while at < len(NOISE) and len(cuts) < 8:
        cuts.append(at)
        at = (at // CHUNK + 1) * CHUNK + data.draw(st.integers(0, CHUNK + CHUNK // 3))
    length = data.draw(st.integers(cuts[-1], min(at, len(NOISE))))
    order = data.draw(st.permutations(range(len(cuts) + 1)))
    algorithm = data.draw(st.sampled_from(["blake3", "sha256"]))
    assert in_pieces(NOISE[:length], cuts, order, algorithm) == plain(NOISE[:length], algorithm)


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_one_piece_is_the_whole_file(length):
    assert in_pieces(NOISE[:length], [], [0]) == plain(NOISE[:length])


@pytest.mark.parametrize("length", [CHUNK + 40, 2 * CHUNK, 2 * CHUNK + 40, 4 * CHUNK, 4 * CHUNK + 74])
@pytest.mark.parametrize("reverse", [False, True])
def test_segments_behind_a_header(length, reverse):
    """The bounds that an encrypted file has; its last segment may lie in one leaf or in two."""
    cuts = [74, *range(74 + CHUNK + 32, length, CHUNK + 32)]
    order = list(range(len(cuts) + 1))
    text = NOISE[:length]
    assert in_pieces(text, cuts, order[::-1] if reverse else order) == plain(text)


def test_cuts_at_the_bounds_of_leaves_leave_nothing_to_join():
    text = NOISE[: 4 * CHUNK]
    assert in_pieces(text, [CHUNK, 3 * CHUNK], [2, 0, 1]) == plain(text)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_piece_that_is_missing_gives_another_root(missing):
    text, cuts = NOISE[: 4 * CHUNK], [CHUNK + 10, 2 * CHUNK + 20]
    order = [index for index in range(3) if index != missing]
    assert in_pieces(text, cuts, order, "sha256") != plain(text, "sha256")


def test_a_piece_that_comes_late_may_be_written_over_by_then():
    """Threads use their buffers again: what is still needed of a piece was kept."""
    text, cut = NOISE[: 2 * CHUNK], 74
    hasher = PieceHasher(Leaves("blake3", "data/00000000", len(text)))
    buffer = bytearray(text[cut:])
    hasher.piece(cut, memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    hasher.piece(0, text[:cut])
    assert hasher.root() == plain(text)


def test_threads_join_halves_once():
    """Many threads at once, many times: a leaf that two pieces share is never lost."""
    text = NOISE
    cuts = [CHUNK + 74 + index * (CHUNK + 32) for index in range(8)]
    bounds, wanted = [0, *cuts, len(text)], plain(text)
    for seed in range(5):
        hasher = PieceHasher(Leaves("blake3", "data/00000000", len(text)))
        order = list(range(9))
        random.Random(seed).shuffle(order)

        def work(index, hasher=hasher):
            hasher.piece(bounds[index], text[bounds[index] : bounds[index + 1]])

        threads = [threading.Thread(target=work, args=(index,)) for index in order]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hasher.root() == wanted
