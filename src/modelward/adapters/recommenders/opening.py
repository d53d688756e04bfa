"""Open a recommender by its factory, together with its ratings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.recommenders.ratings import read_ratings
from modelward.adapters.runtime import reason
from modelward.adapters.runtimes.torch_module import build
from modelward.core.subject import Subject
from modelward.errors import ConfigInvalid, ModelNonFinite, ModelRaised, OperatorUnsupported

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from modelward.core.data import Ratings
    from modelward.core.model import Recommender


@final
class Guarded:
    """A user's recommender, whose answers are checked and whose errors are named."""

    def __init__(self, inner: Recommender) -> None:
        self._inner = inner
        self._items = 0

    def fit(self, users: NDArray[np.int64], items: NDArray[np.int64], ratings: NDArray[np.float64]) -> None:
        """Train it on copies.

        Raises:
            OperatorUnsupported: it raised.
        """
        self._items = int(items.max()) + 1
        try:
            self._inner.fit(users.copy(), items.copy(), ratings.copy())
        except Exception as error:  # the user's own code runs here, and can raise anything
            raise OperatorUnsupported(f"the recommender's fit raised {_said(error)}") from error

    def predict(self, users: NDArray[np.int64]) -> NDArray[np.float64]:
        """Ask it.

        Raises:
            OperatorUnsupported: it raised, or answered something else than finite (users, items) scores.
        """
        try:
            scores = np.asarray(self._inner.predict(users.copy()), dtype=np.float64)
        except Exception as error:  # as above
            raise OperatorUnsupported(f"the recommender's predict raised {_said(error)}") from error
        if scores.shape != (len(users), self._items):
            raise OperatorUnsupported(
                f"the recommender answered shape {scores.shape} for {len(users)} users, {self._items} items"
            )
        if not np.isfinite(scores).all():
            raise OperatorUnsupported("the recommender answered NaN or an infinity")
        return scores


def open_recommender(
    factory: str | None, import_from: str | None, data: Path, columns: tuple[str, str, str]
) -> tuple[Subject, Guarded, Ratings]:
    """Read the ratings, build the recommender, and see that it learns from them.

    Args:
        factory: ``package.module:function`` that returns a `core.model.Recommender`; imported and run.
        import_from: folder that its module may be imported from.
        data: csv, csv.gz or parquet.
        columns: of users, items and ratings.

    Raises:
        ConfigInvalid: no factory was named, or what it returns has no fit and predict.
        ModelRaised: it fails on the ratings as they are.
        ModelNonFinite: it answers NaN or an infinity to them.
        ModelwardError: as `read_ratings` says.
    """
    if factory is None:
        raise ConfigInvalid(
            "a recommender is built by a function of yours, and none was named",
            advice="Name it: --factory package.module:function.",
        )
    ratings = read_ratings(data, columns)
    built = build(factory, import_from)
    for name in ("fit", "predict"):
        _require_method(built, name, factory)
    recommender = Guarded(built)  # type: ignore[arg-type]  # both methods were just looked for
    try:
        recommender.fit(ratings.users, ratings.items, ratings.values)
        recommender.predict(np.arange(1, dtype=np.int64))
    except OperatorUnsupported as error:
        fault = ModelNonFinite if "NaN" in str(error) else ModelRaised
        raise fault(str(error)) from error
    digest = "sha256:" + hashlib.sha256(f"recommender/{factory}".encode()).hexdigest()
    subject = Subject(
        kind="model", name=factory, digest=digest, identity="asserted", format="recommender", details={}
    )
    return subject, recommender, ratings


def _require_method(built: object, name: str, factory: str) -> None:
    try:
        found = callable(getattr(built, name, None))
    except Exception as error:  # looking can run the user's own code too, where it made a property of it
        raise ModelRaised(f"the recommender's {name} raised {_said(error)}") from error
    if not found:
        raise ConfigInvalid(f"--factory {factory} returned {type(built).__name__}, which has no {name}")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {reason(error)}"
