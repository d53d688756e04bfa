import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.canonical import canonical, digest, parse

numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def shuffled(value):
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_round_trip(value):
    assert parse(canonical(value)) == value


@given(values)
def test_key_order_does_not_matter(value):
    assert canonical(shuffled(value)) == canonical(value)


@given(values)
def test_a_fixed_point(value):
    assert canonical(parse(canonical(value))) == canonical(value)


def test_the_example_of_the_standard():
    # RFC 8785, section 3.2.2 and 3.2.3.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(value) == expected.encode()


def test_keys_are_sorted_by_utf16():
    # RFC 8785, section 3.2.3: a supplementary character sorts before U+FB33 although its code point is larger.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = [
        json.loads(part.split(b":")[0]) for part in canonical(dict.fromkeys(keys, 0))[1:-1].split(b",")
    ]
    assert ordered == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, 2**53, -(2**53), "\ud800", {1: 2}, {"a": b"x"}, object()]
)
def test_what_json_cannot_hold_is_refused(bad):
    with pytest.raises((ValueError, TypeError)):
        canonical([bad])


@given(values, values)
def test_digests_differ_when_bytes_differ(a, b):
    assert (digest(a) == digest(b)) == (canonical(a) == canonical(b))
