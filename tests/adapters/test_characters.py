"""Numbers that numpy holds as text, and which of them are text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.characters import are_characters

CODES = st.integers(0, 2**32 - 1) | st.sampled_from([0, 0xD800, 0x10FFFF, 0x110000])


def text(codes, order="<", width=1):
    numbers = np.array(codes, np.dtype(np.uint32).newbyteorder(order))
    return numbers.view(np.dtype(f"{order}U{width}"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_last_code_point_is_the_last(order):
    assert are_characters(text([0x61, 0x10FFFF], order))
    assert not are_characters(text([0x61, 0x110000], order))
    assert not are_characters(text([0xFFFFFFFF], order))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_lone_surrogate_is_a_character_of_python(order):
    array = text([0xD800], order)
    assert are_characters(array)
    assert array.tolist() == ["\ud800"]


@given(st.lists(CODES, min_size=1, max_size=6), st.sampled_from("<>"))
def test_what_is_let_through_becomes_str(codes, order):
    array = text(codes, order)
    assert are_characters(array) == all(code <= 0x10FFFF for code in codes)
    if are_characters(array):
        assert array.tolist() == ["" if code == 0 else chr(code) for code in codes]


def test_every_character_of_a_long_text_counts():
    assert are_characters(text([0x61] * 6, width=3))
    assert not are_characters(text([0x61, 0x61, 0x61, 0x61, 0x61, 0x110000], width=3))


def test_order_in_memory_does_not_matter():
    array = text([0x61, 0x62, 0x110000, 0x64]).reshape(2, 2)
    assert not are_characters(array.T)
    assert are_characters(array[:, 1])
    assert not are_characters(array[:, 0])
    assert are_characters(array[::-1, 1])


@pytest.mark.parametrize(
    "array",
    [np.ones(3), np.array([b"\xff"]), np.array(["a"], object), np.zeros((0,), "U4"), np.zeros((2, 0), "U1")],
)
def test_what_is_no_text_of_fixed_width_is_left_alone(array):
    assert are_characters(array)
