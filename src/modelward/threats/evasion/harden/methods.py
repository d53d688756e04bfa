"""The methods of hardening, what each is for, and what a user may choose about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import msgspec

from modelward.core.choices import explained
from modelward.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

Trained: TypeAlias = Literal["pgd", "trades", "awp", "fast", "ibp", "crown-ibp", "sabr", "noise"]
"""Methods that train a torch module."""
Method: TypeAlias = Literal[Trained, "trees", "normalise"]

METHODS: Final[dict[Method, str]] = {
    "pgd": "Adversarial training on many-step attacks: the plain and strong choice.",
    "trades": "Clean loss plus a penalty on how far an attack moves the scores: trades accuracy openly.",
    "awp": "As pgd, on weights that are perturbed too: generalises better, a third dearer.",
    "fast": "Adversarial training on one-step attacks, watched for catastrophic overfitting: the cheapest.",
    "ibp": "Training on interval bounds: what it gains is proved, at some accuracy.",
    "crown-ibp": "As ibp, with a linear relaxation while the radius grows: steadier, dearer.",
    "sabr": "Interval bounds of a small box around an attack: more accuracy, a little less proof.",
    "noise": "Training under Gaussian noise, for randomized smoothing (eps is its standard deviation).",
    "trees": "A new forest, of splits that hold when an attacker moves samples: gains are proved exactly.",
    "normalise": "Texts without invisible, lookalike and directional tricks, in front of any model of texts.",
}
PROVED: Final = ("ibp", "crown-ibp", "sabr")
"""Methods that train bounds, whose epochs are chosen by the share that intervals certify."""


_TRAINED: Final[tuple[Method, ...]] = get_args(Trained)
CHOICES: Final[dict[str, tuple[Method, ...]]] = {
    **dict.fromkeys(("epochs", "batch", "rate", "ramp", "held_out"), _TRAINED),
    "steps": ("pgd", "trades", "awp", "sabr"),
    "beta": ("trades",),
    "gamma": ("awp",),
    "kappa": ("ibp", "crown-ibp"),
    "small": ("sabr",),
    "trees": ("trees",),
    "depth": ("trees",),
}
"""What may be chosen besides norm and eps, and the methods that look at it."""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How to train.

    Attributes:
        method: see `METHODS`.
        norm: of the ball, ``linf`` or ``l2``; bounds are trained in ``linf``, noise in ``l2``.
        eps: radius in the box's unit, > 0; for ``noise`` the standard deviation, for ``normalise`` edits.
        epochs: passes over the training samples, >= 1.
        batch: samples per step of the optimiser, >= 2.
        rate: largest learning rate of Adam, > 0.
        steps: of the inner attack, >= 1; ``fast`` uses one whatever this says.
        beta: weight of the penalty of ``trades`` (1/lambda there), > 0.
        gamma: size of the perturbation of weights of ``awp``, relative to each layer's norm, > 0.
        kappa: share of the clean loss in ``ibp`` and ``crown-ibp`` once eps is reached, in [0, 1].
        small: width of the box of ``sabr`` relative to eps, in (0, 1].
        ramp: share of the training over which eps grows from 0, in [0, 1).
        trees: how many to grow, for ``trees``, >= 1; one alone sees all samples and features.
        depth: most questions on a path of a tree, for ``trees``, >= 1.
        held_out: training samples that are kept apart to choose the epoch and to watch it, >= 1; at most a
            fifth of all.
    """

    method: Method = "trades"
    norm: Literal["linf", "l2"] = "linf"
    eps: float
    epochs: int = 20
    batch: int = 128
    rate: float = 1e-3
    steps: int = 7
    beta: float = 6.0
    gamma: float = 0.005
    kappa: float = 0.5
    small: float = 0.4
    ramp: float = 0.4
    trees: int = 100
    depth: int = 8
    held_out: int = 500


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "epochs": (1, 1e6),
    "batch": (2, 1e6),
    "rate": (1e-9, 10),
    "steps": (1, 1e4),
    "beta": (1e-9, 1e6),
    "gamma": (1e-9, 1),
    "kappa": (0, 1),
    "small": (1e-6, 1),
    "ramp": (0, 0.95),
    "trees": (1, 10_000),
    "depth": (1, 30),
    "held_out": (1, 1e9),
}


def settled(training: Training) -> Training:
    """The same, once it is known to be possible.

    Raises:
        ConfigInvalid: a method or norm is unknown, the two do not go together, or a number is out of range.
    """
    try:
        training = msgspec.convert(msgspec.to_builtins(training), Training)
    except msgspec.ValidationError as error:
        advice = "docs/harden.md says what each method is for, and in which norm it trains."
        raise ConfigInvalid(f"harden: {explained(error, Training)}", advice=advice) from error
    if not 0 < training.eps < float("inf"):
        raise ConfigInvalid(
            f"harden: eps is {training.eps:g}, and must be above 0 and finite",
            advice="Give a radius, like --eps 0.1.",
        )
    usual = msgspec.structs.asdict(Training(eps=training.eps))
    for name, (low, high) in _RANGES.items():
        value = getattr(training, name)
        if not low <= value <= high:
            raise ConfigInvalid(
                f"harden: {name} is {value:g}, and must be from {low:g} to {high:g}",
                advice=f"Change {_flag(name)}, or leave it out for {usual[name]:g}.",
            )
    if training.method in PROVED and training.norm != "linf":
        raise ConfigInvalid(
            f"{training.method} trains bounds in linf, not in {training.norm}", advice="Give --norm linf."
        )
    if training.method == "noise" and training.norm != "l2":
        raise ConfigInvalid("noise is for randomized smoothing, which certifies l2", advice="Give --norm l2.")
    return training


def require_own(method: str, stated: Iterable[str]) -> None:
    """Refuse choices that a method does not look at, whatever they are; unknown methods are not judged.

    Args:
        method: that was chosen.
        stated: names of `CHOICES` that a user gave a value.

    Raises:
        ConfigInvalid: naming the first of them, and the methods that it is for.
    """
    for name in stated:
        if method in METHODS and method not in CHOICES[name]:
            raise ConfigInvalid(
                f"{_flag(name)} is for {', '.join(CHOICES[name])}, and means nothing to --method {method}",
                advice=f"Leave {_flag(name)} out, or choose a method that it is for.",
            )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
