"""The check `evasion.gradient`: witnesses found along the gradient of a differentiable copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.threats.evasion.arena import differentiable, trouble
from modelward.threats.evasion.attack import Plan, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.core.evidence import Evidence
    from modelward.threats.evasion.arena import Arena
    from modelward.threats.evasion.attack import Attack

_PHASES: Final = ((20, 0, False), (40, 3, True))
"""(steps, targets, random start): what is easily broken goes first, then the three likeliest classes."""
_STEP: Final = 1.0
_MOMENTUM: Final = 0.5


@final
class GradientCheck:
    """Untargeted margin descent on all points, then targeted descent on the survivors."""

    id = "evasion.gradient"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be attacked, or null."""
        if differentiable(subjects.model) is None:
            return "the model has no differentiable copy"
        return trouble(subjects)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Attack every point under every threat; one evidence per norm and eps."""
        parameters: dict[str, JSON] = {
            "phases": [list(phase) for phase in _PHASES],
            "step": _STEP,
            "momentum": _MOMENTUM,
        }
        plan = Plan(check=self, settings=self._settings, attack=_attack(subjects), parameters=parameters)
        return run(plan, subjects, budget=budget, seed=seed)


def _attack(subjects: Subjects) -> Attack:
    from modelward.threats.evasion.margin import Descent, Phase, descend

    model = differentiable(subjects.model)
    if model is None:
        raise AssertionError("the engine runs this check only on models with gradients")
    module = model.module()
    descent = Descent(
        phases=tuple(Phase(*phase) for phase in _PHASES),
        step=_STEP,
        momentum=_MOMENTUM,
    )

    def attack(arena: Arena) -> None:
        descend(module, arena, descent)

    return attack
