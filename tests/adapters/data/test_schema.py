import numpy as np
import pytest

from modelward.adapters.data.options import DataOptions
from modelward.adapters.data.schema import disjoint, mark, number_column, onehot_candidates, onehot_groups
from modelward.core.data import Column


@pytest.mark.parametrize(
    ("lower", "upper", "whole", "kind"),
    [
        (0, 1, True, "boolean"),
        (0, 0, True, "boolean"),
        (1, 1, True, "boolean"),
        (0, 2, True, "integer"),
        (-1, 0, True, "integer"),
        (0, 1, False, "real"),
        (2, 2, True, "integer"),
        (1, -1, True, "real"),
    ],
)
def test_kinds(lower, upper, whole, kind):
    assert number_column("c", lower=lower, upper=upper, whole=whole, missing=0).kind == kind


def booleans(*names, missing=0):
    return [Column(name=name, kind="boolean", lower=0, upper=1, missing=missing) for name in names]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (("c_a", "c_b", "c_c"), [("c", [0, 1, 2])]),
        (("c=a", "d=a", "c=b", "d=b"), [("c", [0, 2]), ("d", [1, 3])]),
        (("a_b_1", "a_b_2", "a_c"), [("a", [0, 1, 2]), ("a_b", [0, 1])]),
        (("x1", "x2"), []),
        (("c_", "c_a"), []),
        (("_a", "_b"), []),
        (("c.a", "c:b"), [("c", [0, 1])]),
    ],
)
def test_candidates(names, groups):
    assert onehot_candidates(booleans(*names)) == groups


def test_only_complete_booleans_are_candidates():
    assert onehot_candidates(booleans("c_a", "c_b", missing=1)) == []
    other = [*booleans("c_a"), Column(name="c_b", kind="integer", lower=0, upper=2)]
    assert onehot_candidates(other) == []


def test_groups_must_hold_in_every_block():
    groups = [("c", [0, 1]), ("d", [1, 2])]
    one = np.array([[1.0, 0, 1], [0, 1, 0]])
    two = np.array([[1.0, 1, 0]])
    assert onehot_groups(groups, [one]) == groups
    assert onehot_groups(groups, [one, two]) == [("d", [1, 2])]
    assert onehot_groups(groups, [one, two, np.zeros((1, 3))]) == []
    assert onehot_groups([], [one]) == []


def test_larger_groups_win():
    assert disjoint([("a", [0, 1, 2]), ("b", [1, 2]), ("c", [3, 4])]) == [("a", [0, 1, 2]), ("c", [3, 4])]


def test_mark():
    found = mark(
        booleans("c_a", "c_b", "d"), DataOptions(sensitive=("d",), immutable=("c_a",)), [("c", [0, 1])]
    )
    assert [(c.onehot, c.sensitive, c.immutable) for c in found] == [
        ("c", False, True),
        ("c", False, False),
        (None, True, False),
    ]
