"""What may be chosen, and what is refused before anything is trained."""

from __future__ import annotations

from typing import get_args

import pytest

from modelward.errors import ConfigInvalid
from modelward.threats.evasion.harden.losses import LOSSES, passes
from modelward.threats.evasion.harden.methods import (
    CHOICES,
    METHODS,
    PROVED,
    Method,
    Trained,
    Training,
    require_own,
    settled,
)


def test_every_method_is_described_and_has_a_loss():
    assert set(METHODS) == set(get_args(Method))
    assert set(LOSSES) == set(get_args(Trained)) == set(METHODS) - {"trees", "normalise"}
    assert set(PROVED) < set(METHODS)


@pytest.mark.parametrize("method", get_args(Trained))
def test_more_steps_never_cost_less(method):
    training = Training(method=method, eps=0.1)
    few, many = passes(training, 1), passes(training, 5)
    assert few <= many
    assert min(few) >= 1


def test_defaults_are_possible():
    assert settled(Training(eps=0.3)) == Training(eps=0.3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"eps": 0.0}, "eps is 0"),
        ({"eps": float("inf")}, "eps is inf"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 1}, "batch is 1"),
        ({"rate": 0.0}, "rate is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"beta": -1.0}, "beta is -1"),
        ({"gamma": 0.0}, "gamma is 0"),
        ({"kappa": 1.5}, "kappa is 1.5"),
        ({"small": 0.0}, "small is 0"),
        ({"ramp": 1.0}, "ramp is 1"),
        ({"trees": 0}, "trees is 0"),
        ({"depth": 31}, "depth is 31"),
        ({"held_out": 0}, "held_out is 0"),
        ({"method": "magic"}, "method: .*'magic'|'magic'"),
        ({"norm": "l1"}, "'l1'"),
        ({"method": "ibp", "norm": "l2"}, "ibp trains bounds in linf, not in l2"),
        ({"method": "noise"}, "certifies l2"),
    ],
)
def test_what_is_impossible_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigInvalid, match=sentence):
        settled(Training(**({"eps": 0.1} | changes)))


def test_every_choice_is_somebody_s_and_every_field_is_a_choice():
    assert set(CHOICES) == set(Training.__struct_fields__) - {"method", "norm", "eps"}
    for methods in CHOICES.values():
        assert methods
        assert set(methods) <= set(METHODS)


@pytest.mark.parametrize("method", get_args(Method))
def test_a_method_takes_its_own_choices_and_refuses_each_other_one(method):
    own = [name for name, methods in CHOICES.items() if method in methods]
    require_own(method, own)
    for name in set(CHOICES) - set(own):
        with pytest.raises(ConfigInvalid, match=f"means nothing to --method {method}") as refused:
            require_own(method, [*own, name])
        assert refused.value.advice.startswith(f"Leave --{name.replace('_', '-')} out")


def test_choices_of_an_unknown_method_are_not_judged():
    require_own("magic", CHOICES)


def test_advice_about_a_number_says_what_leaving_it_out_means():
    for name, default in (("trees", "100"), ("held_out", "500"), ("rate", "0.001")):
        with pytest.raises(ConfigInvalid) as refused:
            settled(Training(**{"eps": 0.1, name: 0}))
        flag = "--" + name.replace("_", "-")
        assert refused.value.advice == f"Change {flag}, or leave it out for {default}."
