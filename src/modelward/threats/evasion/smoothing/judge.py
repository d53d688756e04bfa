"""From counted answers to the certified accuracy of the smoothed classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.core.claim import Bracket, Claim, Judgement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.evidence import Evidence

CLAIM: Final = "smoothed-accuracy"
SCOPE: Final = ("norm", "eps", "unit", "box", "sigma", "n0", "n", "alpha")


def judge_smoothed_accuracy(evidence: Sequence[Evidence]) -> Judgement:
    """One claim per evidence, about the smoothed classifier only.

    The bracket's lower end is the share of points that it provably gets right within eps, each with
    probability 1 - alpha; nothing bounds it from above. It says nothing about the model without noise.

    Args:
        evidence: of `evasion.smoothing`.
    """
    return Judgement(tuple(_claim(item) for item in evidence))


def _claim(item: Evidence) -> Claim:
    scope = {name: item.parameters[name] for name in SCOPE}
    certified, right, abstained = (_count(item, name) for name in ("certified", "correct", "abstained"))
    share = certified / item.n if item.n else None
    change = f"any L2 change of at most {scope['eps']:.4g} {scope['unit']}"
    statement = "No point was sampled."
    if share is not None:
        statement = (
            f"Under noise of standard deviation {scope['sigma']:.4g}, the model's majority keeps "
            f"{share:.1%} of {item.n} points right under {change}; {right / item.n:.1%} are right "
            f"unchanged, and on {abstained / item.n:.1%} it abstains."
        )
    notes = [
        "about the model that answers by majority over noise, not about the model as it is deployed",
        f"each certificate is wrong with probability at most {scope['alpha']}; float rounding is not bounded",
    ]
    if item.cut is not None:
        sampled = _count(item, "sampled")
        cut = f"cut short ({item.cut}): {sampled} of {item.n} points were sampled"
        notes.append(f"{cut}, the others count as not proved")
    return Claim(
        id=CLAIM,
        statement=statement,
        scope=scope,
        bracket=Bracket(share, None),
        basis="proved",
        n=item.n,
        cost=item.cost,
        evidence=(item.digest,),
        note="; ".join(notes),
    )


def _count(item: Evidence, name: str) -> int:
    listed = item.outcome.get(name, [])
    return len(listed) if isinstance(listed, list) else 0
