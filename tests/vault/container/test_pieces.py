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


def in_pieces(data, cuts, order, step=CHUNK, algorithm="blake3"):
    hasher = PieceHasher(Leaves(algorithm, "data/00000000", len(data)))
    bounds = [0, *cuts, len(data)]
    for index in order:
        begin, end = bounds[index], bounds[index + 1]
        piece = hasher.piece(begin)
        for at in range(begin, end, step):
            piece.update(data[at : min(at + step, end)])
        piece.close()
    return hasher.root()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_order_and_bounds_do_not_matter(data):
    count = data.draw(st.integers(1, 8))
    cuts, at = [], 0
    for _ in range(count - 1):
        at += CHUNK + data.draw(st.integers(0, CHUNK // 3))
        cuts.append(at)
    length = at + data.draw(st.integers(1, len(NOISE) - at))
    if cuts and length - cuts[-1] > CHUNK // 2:
        assert length > cuts[-1]
    order = data.draw(st.permutations(range(len(cuts) + 1)))
    text = NOISE[:length]
    step = data.draw(st.sampled_from([CHUNK, CHUNK + 32, 300_001]))
    algorithm = data.draw(st.sampled_from(["blake3", "sha256"]))
    assert in_pieces(text, cuts, order, step, algorithm) == plain(text, algorithm)


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_one_piece_is_the_whole_file(length):
    assert in_pieces(NOISE[:length], [], [0]) == plain(NOISE[:length])


def test_cuts_at_the_bounds_of_leaves_leave_nothing_to_join():
    text = NOISE[: 4 * CHUNK]
    assert in_pieces(text, [CHUNK, 3 * CHUNK], [2, 0, 1]) == plain(text)


def test_a_piece_that_is_missing_gives_no_root():
    text = NOISE[: 4 * CHUNK]
    hasher = PieceHasher(Leaves("sha256", "a", len(text)))
    first = hasher.piece(0)
    first.update(text[: 2 * CHUNK + 10])
    first.close()
    whole = FileHasher("sha256", "a", len(text))
    whole.update(text)
    assert hasher.root() != whole.root()


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
            piece = hasher.piece(bounds[index])
            piece.update(text[bounds[index] : bounds[index + 1]])
            piece.close()

        threads = [threading.Thread(target=work, args=(index,)) for index in order]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hasher.root() == wanted
