"""Which checks apply, and why the others do not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from modelward.core.catalogue import CHECKS, CheckEntry, load_check
from modelward.core.model import Differentiable, TreeEnsemble
from modelward.engine.outcome import Skipped
from modelward.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.core.check import Check, Need, Settings, Subjects

# One library that stands for each extra.
_EXTRA_LIBRARY = {"torch": "torch", "trees": "sklearn"}
_ABSENT: dict[Need, str] = {
    "artifact": "a live object has no file to inspect",
    "model": "no model was opened",
    "gradients": "the model has no differentiable copy",
    "trees": "the model is no tree ensemble that is read",
    "data": "no data was given (--data)",
    "labels": "the data has no labels (--label)",
    "training data": "no training data was given (--train)",
    "sensitive columns": "no sensitive column was named (--sensitive)",
    "recommender": "no recommender was named (--recommender)",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The checks to run, in order, and those that do not apply.

    Attributes:
        checks: catalogue entry and constructed check.
        skipped: why each other check does not run.
        excluded: ids of those that might apply and were not selected.
    """

    checks: tuple[tuple[CheckEntry, Check], ...]
    skipped: tuple[Skipped, ...]
    excluded: tuple[str, ...] = ()


def select(prefixes: Sequence[str]) -> tuple[CheckEntry, ...]:
    """The catalogue entries under dotted prefixes, in catalogue order; all of them for no prefix.

    Raises:
        ConfigInvalid: a prefix names no check.
    """
    for prefix in prefixes:
        if not any(_under(entry.id, prefix) for entry in CHECKS):
            names = sorted({entry.id for entry in CHECKS} | {entry.id.split(".")[0] for entry in CHECKS})
            near = get_close_matches(prefix, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigInvalid(f"no check is called {prefix!r}{hint}", advice=f"Checks: {', '.join(names)}.")
    return tuple(entry for entry in CHECKS if not prefixes or any(_under(entry.id, p) for p in prefixes))


def make_plan(
    subjects: Subjects,
    settings: Settings,
    *,
    prefixes: Sequence[str] = (),
    absent: Mapping[Need, str] | None = None,
) -> Plan:
    """Decide what to run.

    Args:
        subjects: what there is to look at.
        settings: handed to every check.
        prefixes: dotted prefixes of check ids; none selects all.
        absent: better reasons for a missing need than the general ones (why a model was not opened, ...).

    Raises:
        ConfigInvalid: a prefix names no check.
    """
    reasons = _ABSENT | dict(absent or {})
    checks: list[tuple[CheckEntry, Check]] = []
    skipped: list[Skipped] = []
    excluded: list[str] = []
    selected = select(prefixes)
    for entry in CHECKS:
        if entry not in selected:
            # Whether there are gradients or trees is not found out for nothing.
            if all(_present(need, subjects) for need in entry.needs if need not in {"gradients", "trees"}):
                excluded.append(entry.id)
            skipped.append(Skipped(entry.id, "left out by --checks"))
            continue
        reason = next((reasons[need] for need in entry.needs if not _present(need, subjects)), None)
        if reason is None and entry.extra and importlib.util.find_spec(_EXTRA_LIBRARY[entry.extra]) is None:
            reason = f"needs the extra {entry.extra!r}: pip install 'modelward[{entry.extra}]'"
        if reason is None:
            check = load_check(entry)(settings)
            reason = check.declines(subjects)
            if reason is None:
                checks.append((entry, check))
        if reason is not None:
            skipped.append(Skipped(entry.id, reason))
    return Plan(tuple(checks), tuple(skipped), tuple(excluded))


def _under(check: str, prefix: str) -> bool:
    return check == prefix or check.startswith(prefix + ".")


def _present(need: Need, subjects: Subjects) -> bool:
    data, model = subjects.data, subjects.model
    present: dict[Need, bool] = {
        "artifact": subjects.artifact is not None,
        "model": model is not None,
        "gradients": isinstance(model, Differentiable),
        "trees": isinstance(model, TreeEnsemble),
        "data": data is not None,
        "labels": data is not None and data.y is not None,
        "training data": subjects.train is not None,
        "sensitive columns": data is not None and bool(data.groupings),
        "recommender": subjects.recommender is not None,
    }
    return present[need]
