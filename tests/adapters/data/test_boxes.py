import numpy as np
import pytest

from modelward.adapters.data.boxes import feature_box, global_box, image_box, stated_box, table_box
from modelward.adapters.data.options import DataOptions
from modelward.core.data import Column
from modelward.errors import InputError


def column(kind, lower, upper):
    return Column(name="c", kind=kind, lower=lower, upper=upper)


@pytest.mark.parametrize(
    ("kind", "seen", "box", "scale"),
    [
        ("real", (2.0, 6.0), (2, 6), 4),
        ("real", (5.0, 5.0), (0, 10), 5),  # constant: not frozen
        ("real", (-5.0, -5.0), (-10, 0), 5),
        ("real", (0.25, 0.25), (-0.75, 1.25), 1),
        ("real", (0.0, 0.0), (-1, 1), 1),
        ("integer", (3.0, 3.0), (0, 6), 3),
        ("boolean", (0.0, 1.0), (0, 1), 1),
        ("boolean", (0.0, 0.0), (0, 1), 1),
        ("boolean", (1.0, 1.0), (0, 1), 1),
        ("category", (0.0, 4.0), (0, 4), 4),
        ("category", (0.0, 0.0), (0, 0), 1),
    ],
)
def test_table_box(kind, seen, box, scale):
    found = table_box([column(kind, *seen)], source="training data")
    assert (found.lower.tolist(), found.upper.tolist(), found.scale.tolist()) == ([box[0]], [box[1]], [scale])
    assert (found.unit, found.source) == ("training range", "training data")


def test_every_scale_is_positive_and_every_value_inside():
    rng = np.random.default_rng(0)
    columns = [column("real", *sorted(pair)) for pair in rng.normal(size=(50, 2)).round(1)]
    found = table_box(columns, source="s")
    assert (found.scale > 0).all()
    assert (found.lower <= [c.lower for c in columns]).all()
    assert (found.upper >= [c.upper for c in columns]).all()


def test_global_box():
    found = global_box(-1.0, 3.0, source="s")
    assert (found.lower.shape, float(found.scale), found.unit) == ((), 4.0, "box width")
    assert found.describe() == {"lower": -1.0, "upper": 3.0, "unit": "box width", "source": "s"}
    assert global_box(2.0, 2.0, shape=(3,), source="s").upper.tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("dtype", "seen", "box"),
    [
        ("u1", (3, 9), (0, 255)),
        ("u1", (0, 1), (0, 255)),
        ("f4", (0.2, 0.9), (0, 1)),
        ("f4", (0, 1.001), (0, 1.001)),
        ("f4", (-0.1, 1), (-0.1, 1)),
        ("i8", (0, 1), (0, 1)),
        ("i8", (0, 16), (0, 16)),
        ("b1", (0, 0), (0, 1)),
    ],
)
def test_image_box(dtype, seen, box):
    found = image_box(np.dtype(dtype), *map(float, seen))
    assert (float(found.lower), float(found.upper)) == box
    assert found.source == "inferred from the data"


def test_stated_box_allows_rounding_only():
    assert stated_box((0.0, 1.0), 0.0, 1.0000001).source == "stated"
    with pytest.raises(
        InputError, match=r"the data reaches from 0 to 1\.1, outside the stated bounds 0 to 1$"
    ):
        stated_box((0.0, 1.0), 0.0, 1.1)
    with pytest.raises(InputError, match=r"from -0\.5"):
        stated_box((0.0, 1.0), -0.5, 1.0)


def test_feature_box():
    columns = [column("real", 0.0, 0.5), column("real", 0.25, 1.0)]
    assert feature_box(columns, DataOptions()).scale.tolist() == [0.5, 0.75]
    assert feature_box(columns, DataOptions(bounds=(0.0, 2.0))).scale.tolist() == [2, 2]
