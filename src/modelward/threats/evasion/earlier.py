"""What earlier checks found out about the same points, so that nobody attacks or proves them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.threats.evasion.threat import scope

if TYPE_CHECKING:
    from modelward.core.check import Subjects
    from modelward.core.evidence import Evidence
    from modelward.numeric.types import BoolArray
    from modelward.threats.evasion.arena import Points
    from modelward.threats.evasion.threat import Threat


@final
@dataclass(frozen=True, slots=True)
class Earlier:
    """Points that need no more work under one threat.

    Attributes:
        broken: (n,) an attack has a witness.
        certified: (n,) a proof stands.
    """

    broken: BoolArray
    certified: BoolArray

    @property
    def decided(self) -> BoolArray:
        """(n,) either of the two."""
        return self.broken | self.certified


def earlier(subjects: Subjects, points: Points, threat: Threat) -> Earlier:
    """Points decided by evidence of the same threat about the same model and data."""
    wanted, digests = scope(threat, points.data.box), subjects.digests()
    same = [
        item
        for item in subjects.earlier
        if all(item.parameters.get(name) == value for name, value in wanted.items())
        and all(item.subjects.get(role) == digests.get(role) for role in ("model", "data"))
    ]
    return Earlier(*(_listed(same, name, points) for name in ("broken", "certified")))


def _listed(evidence: list[Evidence], name: str, points: Points) -> BoolArray:
    rows: set[object] = set()
    for item in evidence:
        listed = item.outcome.get(name, [])
        rows |= set(listed) if isinstance(listed, list) else set()
    return np.array([int(row) in rows for row in points.data.rows], np.bool_)
