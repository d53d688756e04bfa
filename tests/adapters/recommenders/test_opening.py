"""Recommenders by factory: what fits, what is refused, and what their faults become."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.adapters.recommenders.opening import Guarded, open_recommender
from modelward.errors import ConfigInvalid, ModelNonFinite, ModelRaised, OperatorUnsupported

COLUMNS = ("user", "item", "rating")
SOURCE = """
import numpy as np

class Means:
    def fit(self, users, items, ratings):
        counts = np.bincount(items, minlength=items.max() + 1)
        self.means = np.bincount(items, ratings, len(counts)) / counts
        users[:] = 0

    def predict(self, users):
        return np.tile(self.means, (len(users), 1))

class Raises(Means):
    def fit(self, users, items, ratings):
        raise KeyError("secret of u1")

class Narrow(Means):
    def predict(self, users):
        return self.means

class Blank(Means):
    def predict(self, users):
        return np.full((len(users), len(self.means)), np.nan)

class Words(Means):
    def predict(self, users):
        return [["good"] * len(self.means)] * len(users)

def number():
    return 3

class Shy(Means):
    @property
    def fit(self):
        raise KeyError("secret of u1")

class Lost(Means):
    @property
    def predict(self):
        raise AttributeError("gone")

class Late(Means):
    asked = 0

    @property
    def predict(self):
        Late.asked += 1
        if Late.asked > 1:
            raise RuntimeError("too late")
        return lambda users: None

class Half:
    def fit(self, users, items, ratings):
        return self
"""


@pytest.fixture
def opened(tmp_path):
    (tmp_path / "rec_factory_module.py").write_text(SOURCE)
    data = tmp_path / "ratings.csv"
    data.write_text("user,item,rating\nu1,a,1\nu1,b,5\nu2,a,3\n")

    def build(name):
        factory = None if name is None else f"rec_factory_module:{name}"
        return open_recommender(factory, str(tmp_path), data, COLUMNS)

    return build


def test_a_recommender_learns_from_its_ratings(opened):
    subject, recommender, ratings = opened("Means")
    assert (subject.name, subject.identity, subject.format) == (
        "rec_factory_module:Means",
        "asserted",
        "recommender",
    )
    np.testing.assert_array_equal(recommender.predict(np.array([1, 0])), [[2, 5], [2, 5]])
    assert ratings.users.tolist() == [0, 0, 1]  # it was given copies


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        (None, ConfigInvalid, "none was named"),
        ("number", ConfigInvalid, "returned int, which has no fit"),
        ("Half", ConfigInvalid, "returned Half, which has no predict"),
        ("Shy", ModelRaised, "recommender's fit raised KeyError"),
        ("Lost", ConfigInvalid, "returned Lost, which has no predict"),
        ("Late", ModelRaised, "predict raised RuntimeError: too late"),
        ("absent", ConfigInvalid, "cannot be imported"),
        ("Raises", ModelRaised, "fit raised KeyError"),
        ("Narrow", ModelRaised, r"shape \(2,\) for 1 users, 2 items"),
        ("Words", ModelRaised, "predict raised ValueError"),
        ("Blank", ModelNonFinite, "NaN or an infinity"),
    ],
)
def test_what_is_no_recommender(opened, name, error, why):
    with pytest.raises(error, match=why) as caught:
        opened(name)
    assert "secret" not in str(caught.value)


class Forgetful:
    def fit(self, users, items, ratings):
        self.fits = getattr(self, "fits", 0) + 1

    def predict(self, users):
        return np.zeros((len(users), 2 + (self.fits > 1)))


def test_faults_in_the_middle_of_a_check_end_it_with_a_reason():
    guarded = Guarded(Forgetful())
    codes, values = np.array([0, 1]), np.array([1.0, 2.0])
    guarded.fit(codes, codes, values)
    assert guarded.predict(codes).shape == (2, 2)
    guarded.fit(codes, codes, values)
    with pytest.raises(OperatorUnsupported, match=r"shape \(2, 3\)"):
        guarded.predict(codes)
