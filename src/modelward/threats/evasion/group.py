"""Evidence of equal scope, combined point by point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from modelward.core.canonical import digest
from modelward.core.claim import Bracket, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.core.evidence import Evidence

SCOPE: Final = ("norm", "eps", "unit", "box")


@final
@dataclass(frozen=True, slots=True)
class Group:
    """Evidence of equal scope: one threat, the same points of the same data, the same model.

    Attributes:
        scope: norm, eps, unit and box.
        evidence: all of it, in the order given.
        rows: the points.
        correct: points that every check saw answered right unmodified.
        unstable: points that some check saw answered right and another wrong, unmodified.
        broken: check id to the points it broke.
        certified: points with a proof.
        labels: the label of each point, where the evidence names them.
    """

    scope: dict[str, JSON]
    evidence: tuple[Evidence, ...]
    rows: frozenset[int]
    correct: frozenset[int]
    unstable: frozenset[int]
    broken: dict[str, frozenset[int]]
    certified: frozenset[int]
    labels: dict[int, str]

    @property
    def attacks(self) -> tuple[Evidence, ...]:
        """Evidence of attacks that examined points."""
        return tuple(item for item in self.evidence if "broken" in item.outcome)

    @property
    def proofs(self) -> tuple[Evidence, ...]:
        """Evidence of certificates."""
        return tuple(item for item in self.evidence if "certified" in item.outcome)

    @property
    def fallen(self) -> frozenset[int]:
        """Points that some attack broke."""
        return frozenset[int]().union(*self.broken.values())

    @property
    def contradicted(self) -> frozenset[int]:
        """Points with both a proof and a witness: one of the two is wrong."""
        return self.certified & self.fallen

    @property
    def bracket(self) -> Bracket:
        """Shares of all points."""
        return self.among(self.rows)

    def among(self, rows: frozenset[int]) -> Bracket:
        """Shares of some of the points.

        Below: those that are right and proved to stay so, null once a proof was contradicted. Above: those
        that are right and that no attack broke.
        """
        lower = upper = None
        if rows and self.proofs and not self.contradicted:
            lower = len(self.certified & self.correct & rows) / len(rows)
        if rows and self.attacks:
            upper = len((self.correct - self.fallen) & rows) / len(rows)
        return Bracket(lower, upper)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The bracket of each label, lowest upper end first; none where all points have the same label."""
        names = sorted({self.labels[row] for row in self.rows if row in self.labels})
        rows = {name: frozenset(r for r in self.rows if self.labels.get(r) == name) for name in names}
        parts = [Part(name=name, n=len(part), bracket=self.among(part)) for name, part in rows.items()]
        worst = sorted(parts, key=lambda part: (part.bracket.upper or 0.0, part.bracket.lower or 0.0))
        return tuple(worst) if len(worst) > 1 else ()

    @property
    def eps(self) -> float:
        """Radius."""
        return float(str(self.scope["eps"]))

    @property
    def where(self) -> str:
        """The threat in words."""
        norm, unit = str(self.scope["norm"]), str(self.scope["unit"])
        if self.eps == 1 and unit in {"edits", "words", "pixels", "features"}:
            unit = unit[:-1]
        size = f"{self.eps:.4g} {unit}"
        if norm in {"l0", "edits", "words"}:
            return f"change of at most {size}"
        if norm == "patch":
            return f"square patch of at most {size}"
        return f"{norm.capitalize()} change of at most {size}"

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all evidence."""
        return tuple(item.digest for item in self.evidence)


def grouped(evidence: Sequence[Evidence]) -> list[Group]:
    """One group per norm, eps, box, set of points and pair of model and data."""
    kept: dict[str, list[Evidence]] = {}
    for item in evidence:
        same: dict[str, JSON] = {name: item.parameters[name] for name in SCOPE}
        same["rows"] = item.outcome["rows"]
        same["subjects"] = {role: item.subjects.get(role) for role in ("model", "data")}
        kept.setdefault(digest(same), []).append(item)
    # Evidence that examined nothing says only that its budget ended; it joins the claim it would have fed.
    for key, items in list(kept.items()):
        hosts = [
            k for k, others in kept.items() if others[0].n > 0 and _threat(others[0]) == _threat(items[0])
        ]
        if items[0].n == 0 and hosts:
            kept[hosts[0]] += kept.pop(key)
    return [_group(items) for items in kept.values()]


def _threat(item: Evidence) -> dict[str, JSON]:
    return {
        **{name: item.parameters[name] for name in SCOPE},
        **{role: item.subjects.get(role) for role in ("model", "data")},
    }


def _group(items: list[Evidence]) -> Group:
    rights = [listed(item, "correct") for item in items if item.n > 0]
    broken: dict[str, frozenset[int]] = {}
    certified: frozenset[int] = frozenset()
    for item in items:
        if "broken" in item.outcome:
            broken[item.check] = broken.get(item.check, frozenset()) | listed(item, "broken")
        certified |= listed(item, "certified")
    correct = frozenset[int].intersection(*rights) if rights else frozenset[int]()
    return Group(
        scope={name: items[0].parameters[name] for name in SCOPE},
        evidence=tuple(items),
        rows=listed(items[0], "rows"),
        correct=correct,
        unstable=frozenset[int]().union(*rights) - correct,
        broken=broken,
        certified=certified,
        labels=_labels(items),
    )


def _labels(items: list[Evidence]) -> dict[int, str]:
    found: dict[int, str] = {}
    for item in items:
        rows, labels = item.outcome.get("rows"), item.outcome.get("labels")
        if isinstance(rows, list) and isinstance(labels, list) and len(rows) == len(labels):
            pairs = zip(rows, labels, strict=True)
            found |= {row: str(label) for row, label in pairs if isinstance(row, int)}
    return found


def listed(item: Evidence, name: str) -> frozenset[int]:
    """Row numbers that an outcome lists under a name; none where it has no such list."""
    rows = item.outcome.get(name, [])
    return frozenset(row for row in rows if isinstance(row, int)) if isinstance(rows, list) else frozenset()
