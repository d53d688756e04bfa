import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.texts.texts import text_array
from modelward.adapters.texts.wire import pack_texts, unpack_texts
from modelward.sandbox import RawArray

ANY = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None))


@given(st.lists(ANY))
def test_texts_come_back_as_they_went(texts):
    back = unpack_texts(*pack_texts(text_array(texts)))
    assert back.dtype == object
    assert back.tolist() == texts


def test_odd_texts(surrogates):
    assert unpack_texts(*pack_texts(surrogates)).tolist() == surrogates.tolist()


@pytest.mark.parametrize("lengths", [[4], [1, 1], [5, -2], []])
def test_lengths_that_do_not_fit(lengths):
    joined = RawArray("|u1", (3,), b"abc")
    counted = np.array(lengths, "<i8")
    with pytest.raises(ValueError, match="lengths"):
        unpack_texts(joined, RawArray("<i8", counted.shape, counted.tobytes()))
