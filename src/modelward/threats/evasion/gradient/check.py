"""The check `evasion.gradient`: witnesses found along the gradient of a differentiable copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.arena import differentiable, trouble
from modelward.threats.evasion.attack import Plan, numbers, run
from modelward.threats.evasion.gradient.diagnosis import masking
from modelward.threats.evasion.gradient.proofs import secured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.core.evidence import Evidence
    from modelward.threats.evasion.arena import Arena
    from modelward.threats.evasion.gradient.copy import Copy
    from modelward.threats.evasion.gradient.masking import Slopes
    from modelward.threats.evasion.gradient.pool import Pool
    from modelward.threats.evasion.gradient.proofs import Proofs

_METHOD: Final[dict[Preset, str]] = {
    "quick": "margin descent, probes of every goal, targeted margin descent",
    "standard": (
        "margin descent, probes, targeted, APGD-T, APGD-CE, restarts, FAB-T, random refinement; "
        "Square and transfer where slopes mislead"
    ),
    "thorough": (
        "margin descent, probes, targeted, APGD-T, APGD-CE, restarts, FAB-T, random refinement, transfer, "
        "branch and bound, mixed-integer programs, many restarts; Square where slopes mislead"
    ),
}


@final
class GradientCheck:
    """A cascade of gradient attacks: each on what the cheaper ones left standing and no proof secured."""

    id = "evasion.gradient"
    version = 3

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be attacked, or null."""
        if differentiable(subjects.model) is None:
            return "the model has no differentiable copy"
        return trouble(subjects)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Attack every point under every threat; one evidence per norm and eps."""
        model = differentiable(subjects.model)
        if model is None:
            raise AssertionError("the engine runs this check only on models with gradients")
        hunt = _Hunt(model.module(), model.tolerance, self._settings.preset)
        preset = self._settings.preset
        parameters: dict[str, JSON] = {"preset": preset, "method": _METHOD[preset]}
        plan = Plan(
            check=self,
            settings=self._settings,
            attack=hunt.attack,
            parameters=parameters,
            proved=hunt.outcome,
        )
        return run(plan, subjects, budget=budget, seed=seed)


@final
class _Hunt:
    """One run: the copy, and what the last arena came to."""

    def __init__(self, module: nn.Module, tolerance: float, preset: Preset) -> None:
        self._module, self._tolerance, self._preset = module, tolerance, preset
        self._copy: Copy | None = None
        self._pool: Pool | None = None
        self._proofs: Proofs | None = None
        self._slopes: Slopes | None = None

    def attack(self, arena: Arena) -> None:
        """Attack every standing point."""
        from modelward.threats.evasion.gradient.copy import Copy
        from modelward.threats.evasion.gradient.device import exact, home, short_of_memory
        from modelward.threats.evasion.modules import as_evaluated

        self._pool, self._proofs, self._slopes = None, None, None
        if not arena.reach.numeric.any():
            arena.tried |= arena.standing  # no gradient step is admissible, so none is left to try
            return
        with as_evaluated(self._module), exact():
            copy = self._placed(arena)
            try:
                self._cascade(arena, copy)
            except RuntimeError as error:
                if copy.device == home(self._module) or not short_of_memory(error):
                    raise
            else:
                return
            notes = [f"the memory of {copy.device} was too short: started again on the CPU"]
            self._copy = Copy(self._module, arena.reach.shape, share=arena.share, notes=notes)
            self._cascade(arena, self._copy)

    def _placed(self, arena: Arena) -> Copy:
        """The copy where it works best, the same for all threats; this one pays from here on."""
        import torch

        from modelward.threats.evasion.gradient.copy import Copy
        from modelward.threats.evasion.gradient.device import placed

        x = torch.from_numpy(np.nan_to_num(arena.reach.points[arena.standing].astype(np.float32)))
        if self._copy is None:
            notes: list[str] = []
            module = placed(self._module, x, arena.share, notes)
            self._copy = Copy(module, arena.reach.shape, notes=notes)
        self._copy.share = arena.share
        rows, device = slice(self._copy.batch), self._copy.device
        target = torch.from_numpy(arena.points.target[arena.standing])
        self._copy.tune(x[rows].to(device), target[rows].to(device))
        return self._copy

    def _cascade(self, arena: Arena, copy: Copy) -> None:
        from modelward.threats.evasion.gradient.balls import Ball
        from modelward.threats.evasion.gradient.cascade import Cascade
        from modelward.threats.evasion.gradient.pool import Pool

        pool = Pool(arena, copy, Ball(arena.reach, copy.device))
        if self._pool is not None:  # what was found before memory ran out
            pool.record, pool.settled = self._pool.record, self._pool.settled
        self._pool = pool
        cascade = Cascade(pool, self._preset, lambda: self._prove(pool))
        cascade.run()
        self._slopes = cascade.slopes

    def _prove(self, pool: Pool) -> bool:
        """Secure points, those that look safest first; whether the share still allows more."""
        arena = pool.arena
        standing = np.flatnonzero(arena.standing)
        order = standing[np.argsort(-pool.record.margin[standing], kind="stable")]
        self._proofs = secured(self._module, self._tolerance, arena, order)
        pool.settled[self._proofs.certified] = True
        return arena.share.cut is None

    def outcome(self, arena: Arena) -> dict[str, JSON]:
        """What broke how many points, and how near the others came."""
        if self._pool is None:
            return {}
        record, rows = self._pool.record, arena.points.data.rows
        names = list(record.fell.values())
        left = np.flatnonzero(arena.standing & np.isfinite(record.margin))
        return {
            **(self._proofs.outcome(rows) if self._proofs is not None else {}),
            "by": {name: names.count(name) for name in dict.fromkeys(names)},
            **(masking(self._slopes, names) if self._slopes is not None else {}),
            "margins": {"rows": numbers(rows[left]), "least": [float(m) for m in record.margin[left]]},
            **self._pool.copy.outcome(),
        }
