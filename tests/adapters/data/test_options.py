import math

import pytest

from modelward.adapters.data.options import DataOptions, require_column, require_columns, require_valid
from modelward.errors import ColumnMissing, ConfigInvalid, InputError


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_bad_bounds(bounds):
    with pytest.raises(ConfigInvalid, match="not two finite increasing numbers"):
        require_valid(DataOptions(bounds=bounds))


@pytest.mark.parametrize("rows", [0, -1])
def test_too_few_rows(rows):
    with pytest.raises(ConfigInvalid, match=f"at least 1 row must be held, not {rows}"):
        require_valid(DataOptions(rows=rows))


def test_good_options_pass():
    require_valid(DataOptions())
    require_valid(DataOptions(bounds=(-1, 1), rows=1))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("incom", "the nearest are 'income'"),
        ("INCOME", "the nearest are 'income'"),
        ("zzzz", "there are 'age', 'income', 'sex'"),
    ],
)
def test_near_names(name, hint):
    with pytest.raises(ColumnMissing) as caught:
        require_column(name, ["age", "income", "sex"], "label")
    assert str(caught.value) == f"the label column {name!r} is not in the data; {hint}"


def test_names_of_a_wide_table_are_not_all_listed():
    with pytest.raises(ColumnMissing, match=r"there are 'p0', 'p1', 'p2', 'p3', 'p4', \.\.\.$"):
        require_column("zz", [f"p{i}" for i in range(100)], "label")


def test_names_where_there_is_no_table():
    with pytest.raises(ColumnMissing, match="the samples are not rows of a table"):
        require_column("sex", [], "sensitive")


@pytest.mark.parametrize("role", ["sensitive", "immutable"])
def test_roles(role):
    require_columns(DataOptions(**{role: ("a",)}), ["a", "y"], "y")
    with pytest.raises(ColumnMissing, match=f"the {role} column 'b' is not in the data"):
        require_columns(DataOptions(**{role: ("b",)}), ["a", "y"], "y")
    with pytest.raises(InputError, match=f"the label column 'y' cannot be {role}"):
        require_columns(DataOptions(**{role: ("y",)}), ["a", "y"], "y")
