"""The course of eps and of the learning rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.harden.schedule import WARM, grown, rate

SHARE = st.floats(0, 1)


@pytest.mark.parametrize(
    ("t", "ramp", "share"),
    [
        (0.0, 0.4, 0.0),
        (WARM, 0.4, 0.0),
        (WARM + 0.2, 0.4, 0.5),
        (WARM + 0.4, 0.4, 1.0),
        (1.0, 0.9, 1.0),
        (0.0, 0.0, 1.0),
    ],
)
def test_the_radius_grows_in_a_straight_line(t, ramp, share):
    assert grown(t, ramp) == pytest.approx(share)


@pytest.mark.parametrize(
    ("t", "share"), [(0, 0.02), (WARM / 2, 0.5), (WARM, 1), (0.59, 1), (0.8, 0.5), (1, 0.02)]
)
def test_the_rate_rises_holds_and_falls(t, share):
    assert rate(t) == pytest.approx(share)


@given(SHARE, SHARE, st.floats(0, 0.95))
def test_the_radius_never_shrinks(one, other, ramp):
    low, high = sorted((one, other))
    assert 0 <= grown(low, ramp) <= grown(high, ramp) <= 1


@given(SHARE)
def test_the_rate_is_never_nothing(t):
    assert 0.02 <= rate(t) <= 1
