"""From prediction shifts of attacked items to how far invented users move a recommender."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.core.claim import Claim, Interval, Judgement
from modelward.core.evidence import Cost
from modelward.core.finding import Finding
from modelward.core.seeds import child_seed
from modelward.numeric.bootstrap import percentile_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence

    FloatArray = NDArray[np.float64]

CLAIM: Final = "recommender-shift"
_DRAWS: Final = 2000
_LARGE: Final = 0.1
"""A shift of this share of the scale, or as many more or fewer hits, is worth a finding."""
_VISIBLE: Final = 0.9


def judge_recommender_shift(evidence: Sequence[Evidence]) -> Judgement:
    """One claim per goal and number of invented users, about the strategy that moved most.

    The value is the mean prediction shift towards the goal, as a share of the rating scale; its interval is a
    bootstrap over target items (Efron and Tibshirani 1993, chapter 13).

    Args:
        evidence: of `evasion.profiles`.
    """
    groups: dict[tuple[float, str], list[Evidence]] = {}
    for item in sorted(evidence, key=lambda item: (str(item.parameters["strategy"]), item.digest)):
        key = (float(str(item.parameters["share"])), str(item.parameters["goal"]))
        groups.setdefault(key, []).append(item)
    claims, findings = [], []
    for _, items in sorted(groups.items()):
        claim, worst = _claim(items)
        claims.append(claim)
        if worst is not None and _matters(claim, items):
            findings.append(_finding(claim, worst))
    return Judgement(tuple(claims), tuple(findings))


def _claim(items: Sequence[Evidence]) -> tuple[Claim, Evidence | None]:
    whole = [item for item in items if item.n]
    worst = max(whole, key=lambda item: float(_towards(item).mean()), default=None)
    turning = max(whole, key=_turned, default=None)
    first = worst or items[0]
    share, goal = float(str(first.parameters["share"])), str(first.parameters["goal"])
    scope: dict[str, JSON] = {"goal": goal, "share": share, "top": first.parameters["top"]}
    cut = next((item.cut for item in items if item.cut is not None), None)
    statement, notes, value, interval = "No item was attacked.", [], None, None
    if worst is not None:
        shifts, level = _towards(worst), float(str(worst.parameters["confidence"]))
        value = float(shifts.mean())
        interval = _interval(shifts, level)
        before, after = _mean(worst, "before"), _mean(worst, "after")
        moves = "up" if goal == "push" else "down"
        statement = (
            f"{worst.parameters['invented']} invented users, {share:.3g} for each real one, move the scores "
            f"of {worst.n} items {moves} by {value:.1%} of the rating scale, and into the top "
            f"{worst.parameters['top']} of {after:.1%} of users instead of {before:.1%} ({_by(worst)})."
        )
        notes.append(f"worst of {', '.join(_by(item) for item in whole)}, chosen by the same items")
        if turning is not None and turning is not worst:
            notes.append(
                f"{_by(turning)} move the hit ratio most, from {_mean(turning, 'before'):.1%} to "
                f"{_mean(turning, 'after'):.1%}"
            )
        notes.append(_seen(worst))
        noise = float(str(worst.outcome["noise"])) / _range(worst)
        notes.append(f"training twice without any moves scores by up to {noise:.2%}")
    if cut is not None:
        notes.append(f"cut short ({cut})")
    claim = Claim(
        id=CLAIM,
        statement=statement,
        scope=scope,
        value=value,
        interval=interval,
        n=first.n,
        cost=sum((item.cost for item in items), Cost()),
        evidence=tuple(item.digest for item in items),
        better="lower",
        note="; ".join(notes),
    )
    return claim, worst


def _interval(shifts: FloatArray, level: float) -> Interval | None:
    """Percentile bootstrap of the mean; none from a single item."""
    if len(shifts) < 2:
        return None
    random = np.random.default_rng(child_seed(0, CLAIM))
    means = shifts[random.integers(0, len(shifts), (_DRAWS, len(shifts)))].mean(axis=1)
    lower, upper = percentile_interval(means[:, None], level)
    return Interval(float(lower[0]), float(upper[0]), level)


def _matters(claim: Claim, items: Sequence[Evidence]) -> bool:
    sure = claim.interval is not None and claim.interval.lower >= _LARGE
    return sure or any(_turned(item) >= _LARGE for item in items if item.n)


def _turned(item: Evidence) -> float:
    """Change of the hit ratio towards the goal."""
    change = _mean(item, "after") - _mean(item, "before")
    return change if item.parameters["goal"] == "push" else -change


def _finding(claim: Claim, worst: Evidence) -> Finding:
    return Finding(
        rule="evasion.profiles",
        severity="high" if float(str(worst.parameters["share"])) <= 0.01 else "medium",
        confidence="medium",
        title="A few invented users move what everybody is recommended",
        message=f"{claim.statement} {_seen(worst)[0].upper()}{_seen(worst)[1:]}.",
        evidence=(worst.digest,),
        remedy=(
            "Tie accounts to something that costs, limit how fast new ones rate, weigh ratings by age and "
            "record of who gives them, clip what one user can move, and screen new profiles together (rating "
            "deviation and similarity to others) before they are trained on."
        ),
        techniques=("AML.T0020",),
        controls=("PR.DS-01",),
    )


def _seen(item: Evidence) -> str:
    areas = {"rating deviation": _mean(item, "rdma"), "similarity to others": _mean(item, "degsim")}
    told = ", ".join(f"{name} {area:.2f}" for name, area in areas.items())
    visible = max(max(area, 1 - area) for area in areas.values())
    said = "simple statistics tell them" if visible >= _VISIBLE else "simple statistics hardly tell them"
    return f"{said} from real users (area under the curve: {told})"


def _by(item: Evidence) -> str:
    return f"{item.parameters['strategy']} profiles"


def _towards(item: Evidence) -> FloatArray:
    """Shifts towards the goal, as shares of the scale."""
    sign = 1.0 if item.parameters["goal"] == "push" else -1.0
    return sign * _floats(item, "shift") / _range(item)


def _range(item: Evidence) -> float:
    scale = item.parameters["scale"]
    low, high = (float(str(end)) for end in scale) if isinstance(scale, list) else (0.0, 1.0)
    return high - low


def _mean(item: Evidence, name: str) -> float:
    return float(_floats(item, name).mean())


def _floats(item: Evidence, name: str) -> FloatArray:
    listed = item.outcome.get(name)
    return np.array([float(str(v)) for v in listed] if isinstance(listed, list) else [], dtype=np.float64)
