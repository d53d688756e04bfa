"""Relations between columns: what text means, and what is refused with a sentence."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.data.options import Constraints
from modelward.adapters.data.relations import relation
from modelward.core.data import Column
from modelward.errors import ColumnMissing, ConfigInvalid


def column(name, kind="real", onehot=None):
    return Column(name=name, kind=kind, lower=0, upper=1, onehot=onehot)


COLUMNS = [column(n) for n in ("a", "b", "total", "gain-2")] + [
    column("kind", "category"),
    column("is_x", "boolean", "is"),
]


@pytest.mark.parametrize(
    ("text", "terms", "equal", "bound"),
    [
        ("total = a + b", (("total", 1.0), ("a", -1.0), ("b", -1.0)), True, 0.0),
        ("a <= b", (("a", 1.0), ("b", -1.0)), False, 0.0),
        ("a >= b", (("a", -1.0), ("b", 1.0)), False, 0.0),
        ("2 * a - 0.5*b <= 10", (("a", 2.0), ("b", -0.5)), False, 10.0),
        ("`gain-2` >= 3 + a", (("gain-2", -1.0), ("a", 1.0)), False, -3.0),
        ("-a = 1e-3", (("a", -1.0),), True, 1e-3),
        ("a + a = b + 1", (("a", 2.0), ("b", -1.0)), True, 1.0),
    ],
)
def test_what_a_text_means(text, terms, equal, bound):
    found = relation(text, COLUMNS)
    assert (found.terms, found.equal, found.bound) == (terms, equal, bound)
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "a < b", "a = b = total", "a + = b", "a b <= 1", "a * 2 = b", "a - a = 0", "1 = 1", "a <= "],
)
def test_what_is_no_relation(text):
    with pytest.raises(ConfigInvalid, match="relation"):
        relation(text, COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "a <= 1e999",
        "1e999 * a <= b",
        f"{'9' * 400} * a <= b",
        "a = 1e308 * b + 1e308 * b",
        "a <= 1e308 + 1e308",
        "1e999 * a = 1e999 * a",
        "a - 1e999 >= b - 1e999",
    ],
)
def test_numbers_that_are_not_finite(text):
    with pytest.raises(ConfigInvalid, match="holds a number that is not finite") as caught:
        relation(text, COLUMNS)
    assert len(str(caught.value)) < 200


def test_the_largest_numbers_are_numbers():
    found = relation("1.7e308 * a <= 1.7e308", COLUMNS)
    assert (found.terms, found.bound) == ((("a", 1.7e308),), 1.7e308)


@given(st.text("ab+-*=<>. 0123456789eE`", max_size=40))
def test_any_text_is_a_finite_relation_or_refused(text):
    try:
        found = relation(text, COLUMNS)
    except (ConfigInvalid, ColumnMissing):
        return
    assert math.isfinite(found.bound)
    assert found.terms
    assert all(math.isfinite(weight) and weight != 0 for _, weight in found.terms)


@pytest.mark.parametrize("text", ["kind = a", "is_x <= a"])
def test_columns_without_amounts(text):
    with pytest.raises(ConfigInvalid, match="no amounts"):
        relation(text, COLUMNS)


def test_a_column_that_is_not_there():
    with pytest.raises(ColumnMissing, match=r"'totl'.*'total'"):
        relation("totl = a + b", COLUMNS)


def test_constraints_reach_the_data_set():
    import pyarrow as pa

    table = pa.table(
        {"a": [0.1, 0.2, 0.9], "b": [0.3, 0.4, 0.5], "total": [0.4, 0.6, 1.4], "y": ["u", "v", "u"]}
    )
    limits = Constraints(up=("a",), down=("b",), cost={"a": 2.5}, relations=("total = a + b",))
    data = from_arrays(table, name="t", options=DataOptions(label="y", constraints=limits))
    assert [c.direction for c in data.columns] == ["up", "down", "any"]
    assert [c.cost for c in data.columns] == [2.5, 1.0, 1.0]
    assert [r.text for r in data.relations] == ["total = a + b"]


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (Constraints(up=("a",), down=("a",)), "immutable"),
        (Constraints(cost={"a": 0.0}), "positive"),
        (Constraints(cost={"a": float("nan")}), "positive"),
    ],
)
def test_contradictions_are_refused(limits, match):
    import numpy as np

    with pytest.raises(ConfigInvalid, match=match):
        from_arrays(np.zeros((3, 2)), name="t", options=DataOptions(constraints=limits))


def test_a_constrained_column_that_is_not_there():
    import pyarrow as pa

    table = pa.table({"a": [0.1, 0.2, 0.9], "y": ["u", "v", "u"]})
    with pytest.raises(ColumnMissing, match="constrained"):
        from_arrays(table, name="t", options=DataOptions(label="y", constraints=Constraints(up=("b",))))
