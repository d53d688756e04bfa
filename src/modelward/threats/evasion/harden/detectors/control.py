"""The control `evasion.detector`: a detector fitted on the training data, attacked blindly and adaptively."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, final, get_args

import msgspec
import numpy as np

from modelward.core.control import Hardened
from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.errors import ConfigInvalid, ShapeMismatch
from modelward.numeric.proportion import wilson
from modelward.numeric.roc import auc, auc_interval
from modelward.threats.asking import label_trouble, targets
from modelward.threats.evasion.arena import choose, differentiable
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat, scope

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Subjects
    from modelward.core.data import Dataset
    from modelward.core.model import Model
    from modelward.threats.evasion.harden.ball import Ball
    from modelward.threats.evasion.harden.detectors.scores import Detector

Kind: TypeAlias = Literal["squeezing", "mahalanobis", "neighbours", "consistency"]
FPR: Final = 0.05
"""Share of clean inputs that a detector may refuse; its threshold is fitted to it on samples apart."""
_FIT: Final = 5000


class Detecting(msgspec.Struct, frozen=True, kw_only=True):
    """Which detector, and what it is to detect.

    Attributes:
        kind: see the classes of `scores`.
        norm: ``linf`` or ``l2``.
        eps: radius of the attacks in the box's unit, > 0.
        limit: points that are attacked; as many again fit the threshold.
    """

    kind: Kind
    norm: Literal["linf", "l2"] = "linf"
    eps: float
    limit: int = 200


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What evidence says about a detector.

    Attributes:
        kind: of the detector.
        attack: ``blind`` or ``adaptive``.
        points: clean inputs that the model gets right and that were attacked.
        broken: of these, how many the attack turned, detected or not.
        passed: of the points, the share that was turned and not detected: what is left to the attacker.
        passed_interval: Wilson's, 95 %.
        auc: of attacked against clean scores; null where fewer than two points were broken.
        auc_interval: 95 %.
        tpr: share of the broken points that is detected at a false-positive rate of 5 %; null likewise.
        tpr_interval: Wilson's, 95 %; given the threshold.
        fpr: share of the clean points above the threshold, which other samples fitted.
    """

    kind: str
    attack: str
    points: int
    broken: int
    passed: float
    passed_interval: tuple[float, float]
    auc: float | None
    auc_interval: tuple[float, float] | None
    tpr: float | None
    tpr_interval: tuple[float, float] | None
    fpr: float


def judged(item: Evidence, confidence: float = 0.95) -> tuple[Detection, ...]:
    """Blind and adaptive numbers of one evidence; none where the budget ended before."""
    clean, threshold = _floats(item, "clean"), cast("float", item.outcome["threshold"])
    found = []
    for attack in ("blind", "adaptive"):
        if attack not in item.outcome or not clean:
            continue
        scores = _floats(item, attack)
        caught, n, m = sum(score > threshold for score in scores), len(clean), len(scores)
        enough = m >= 2 and n >= 2
        found.append(
            Detection(
                kind=str(item.parameters["detector"]),
                attack=attack,
                points=n,
                broken=m,
                passed=(m - caught) / n,
                passed_interval=wilson(m - caught, n, confidence),
                auc=auc(scores, clean) if enough else None,
                auc_interval=auc_interval(scores, clean, confidence) if enough else None,
                tpr=caught / m if enough else None,
                tpr_interval=wilson(caught, m, confidence) if enough else None,
                fpr=sum(score > threshold for score in clean) / n,
            )
        )
    return tuple(found)


@final
class DetectorControl:
    """Fits a detector on the training data and attacks model and detector on the data.

    The model answers as before; what the detector refuses is not answered. `Hardened.model` is the detector.
    """

    id = "evasion.detector"
    version = 1

    def __init__(self, options: Detecting) -> None:
        if options.kind not in get_args(Kind):
            raise ConfigInvalid(
                f"no detector is called {options.kind!r}; there are {', '.join(get_args(Kind))}",
                advice="Choose of these with --detectors.",
            )
        if not 0 < options.eps < float("inf") or options.limit < 1:
            raise ConfigInvalid("a detector needs an eps above 0 and a limit of at least 1")
        self._options = options

    def declines(self, subjects: Subjects) -> str | None:
        """Why no detector can be fitted or measured, or null."""
        model, train, data = subjects.model, subjects.train, subjects.data
        if model is None or differentiable(model) is None:
            return "the model has no differentiable copy"
        if train is None or data is None:
            return "no training data was given (--train)" if train is None else "no data was given (--data)"
        return label_trouble(model, train) or label_trouble(model, data)

    def apply(self, subjects: Subjects, *, budget: Meter, seed: int) -> Hardened:
        """Fit, set the threshold, attack.

        Raises:
            ShapeMismatch: the subjects are declined.
            OperatorUnsupported: the model has no activations that this detector could look at.
        """
        import torch

        from modelward.threats.evasion.harden.ball import ball
        from modelward.threats.evasion.harden.detectors.attack import Behind, search

        reason = self.declines(subjects)
        model, train, data = differentiable(subjects.model), subjects.train, subjects.data
        if reason is not None or model is None or train is None or data is None or subjects.model is None:
            raise ShapeMismatch(f"no detector can be fitted: {reason}")
        options, module = self._options, model.module()
        threat = Threat(options.norm, options.eps)
        around = ball(reach(data.take(np.zeros(1, np.int64)), threat), options.norm)
        generator = torch.Generator().manual_seed(child_seed(seed, "noise"))
        detector = _fitted(options.kind, module, around, _samples(subjects.model, train, _FIT), generator)
        right = _right(module, _samples(subjects.model, data, 2 * options.limit))
        apart, clean = (tuple(part[i::2] for part in right) for i in (0, 1))
        with torch.no_grad():
            fitted, seen = (_scores(detector, part[0]) for part in (apart, clean))
        outcome: dict[str, JSON] = {"clean": _list(seen), "threshold": None}
        if len(fitted) and len(seen):
            threshold = float(torch.quantile(fitted, 1 - FPR))
            behind = Behind(
                module=module, detector=detector, threshold=threshold, ball=around,
                spread=max(float(fitted.std(unbiased=False)), 1e-12),
            )  # fmt: skip
            outcome["threshold"] = threshold
            for name in ("blind", "adaptive"):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(child_seed(seed, name))
                    found = search(behind, (clean[0], clean[1]), budget, adaptive=name == "adaptive")
                if found is not None:
                    outcome[name] = _list(found.score[found.wrong])
        evidence = Evidence(
            check=self.id,
            version=self.version,
            parameters={
                **scope(threat, data.box),
                "detector": options.kind,
                "limit": options.limit,
                "fpr": FPR,
            },
            n=len(seen),
            seed=seed,
            outcome=outcome,
            unit="detector score",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )
        return Hardened(model=detector, evidence=evidence)


def _fitted(
    kind: Kind,
    module: torch.nn.Module,
    around: Ball,
    train: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> Detector:
    from modelward.threats.evasion.harden.detectors import scores

    match kind:
        case "squeezing":
            return scores.Squeezing(module, around)
        case "mahalanobis":
            return scores.Mahalanobis.fitted(module, *train)
        case "neighbours":
            return scores.Neighbours.fitted(module, train[0])
        case "consistency":
            return scores.Consistency.fitted(module, around, generator)


def _samples(model: Model, data: Dataset, limit: int) -> tuple[Tensor, Tensor]:
    import torch

    part = choose(data, limit)
    return torch.from_numpy(part.x.astype(np.float32)), torch.from_numpy(targets(model, part))


def _right(module: torch.nn.Module, samples: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    import torch

    from modelward.threats.evasion.modules import as_evaluated

    x, y = samples
    with torch.no_grad(), as_evaluated(module):
        keep = module(x).argmax(dim=1) == y
    return x[keep], y[keep]


def _scores(detector: Detector, x: Tensor) -> Tensor:
    import torch

    return torch.cat([detector.score(part) for part in torch.split(x, 256)]) if len(x) else x.new_zeros(0)


def _list(scores: Tensor) -> list[JSON]:
    return [float(score) for score in scores]


def _floats(item: Evidence, name: str) -> list[float]:
    return [float(str(score)) for score in cast("list[JSON]", item.outcome.get(name, []))]
