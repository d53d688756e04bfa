"""One peer on one net; runs in the peer's environment and leaves its adversarial inputs and what they cost.

    python worker.py TOOL NET SEED NORM EPS POINTS.npz OUT.npz

EPS is one radius for all points, or one for each, with commas between: each point is then attacked alone.
Passes are samples that the net answered and samples that were differentiated, counted by a wrapper.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, final

import nets
import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    Search = Callable[["Counted", torch.Tensor, torch.Tensor, tuple[str, float]], torch.Tensor]


@final
class Counted(nn.Module):
    """Counts the samples of every forward and backward pass of a net."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.sent = self.differentiated = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer and count."""
        self.sent += len(x)
        scores = self.net(x)
        if scores.requires_grad:
            scores.register_hook(self._back)
        return scores

    def _back(self, slope: torch.Tensor) -> None:
        self.differentiated += len(slope)


def autoattack(net: Counted, x: torch.Tensor, y: torch.Tensor, ball: tuple[str, float]) -> torch.Tensor:
    """The authors' own (fra31/auto-attack), version standard; batches of 250.

    DLR needs four classes, so with two its targeted APGD cannot run: APGD-CE, FAB-T and Square remain.
    """
    from autoattack import AutoAttack

    norm, eps = ball
    classes = int(net.net[-1].out_features)
    chosen = ["apgd-ce", "fab-t", "square"] if classes < 4 else []
    attack = AutoAttack(
        net, norm={"linf": "Linf", "l2": "L2", "l1": "L1"}[norm], eps=eps, seed=0, device="cpu",
        version="custom" if chosen else "standard", attacks_to_run=chosen, verbose=False,
    )  # fmt: skip
    if chosen:
        attack.apgd.n_restarts = attack.fab.n_restarts = attack.fab.n_target_classes = 1
    return attack.run_standard_evaluation(x, y, bs=250)


def art(net: Counted, x: torch.Tensor, y: torch.Tensor, ball: tuple[str, float]) -> torch.Tensor:
    """AutoAttack of the adversarial robustness toolbox as it comes; the step starts at a quarter of eps."""
    from art.attacks.evasion import AutoAttack
    from art.estimators.classification import PyTorchClassifier

    norm, eps = ball
    classifier = PyTorchClassifier(
        net, nn.CrossEntropyLoss(), tuple(x.shape[1:]), int(net.net[-1].out_features),
        clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    attack = AutoAttack(classifier, norm=order, eps=eps, eps_step=eps / 4, batch_size=len(x))
    return torch.tensor(attack.generate(x.numpy(), y.numpy()))


def foolbox(net: Counted, x: torch.Tensor, y: torch.Tensor, ball: tuple[str, float]) -> torch.Tensor:
    """Foolbox's PGD of 40 steps, all else as it comes."""
    import foolbox as fb

    norm, eps = ball
    attack = {"linf": fb.attacks.LinfPGD, "l2": fb.attacks.L2PGD, "l1": fb.attacks.L1PGD}[norm](steps=40)
    _, clipped, _ = attack(fb.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, y, epsilons=eps)
    return clipped


def torchattacks(net: Counted, x: torch.Tensor, y: torch.Tensor, ball: tuple[str, float]) -> torch.Tensor:
    """PGD of 40 steps of eps / 16 each from a random start."""
    import torchattacks as ta

    norm, eps = ball
    attack = {"linf": ta.PGD, "l2": ta.PGDL2}[norm](net, eps=eps, alpha=eps / 16, steps=40, random_start=True)
    return attack(x, y)


TOOLS: dict[str, Search] = {
    "AutoAttack": autoattack,
    "ART AutoAttack": art,
    "Foolbox PGD-40": foolbox,
    "torchattacks PGD-40": torchattacks,
}


def main() -> None:
    warnings.simplefilter("ignore")
    tool, name, seed, norm, eps, source, target = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  the peers draw from numpy's global generator
    net = Counted(nets.load(name, int(seed)))
    with np.load(source) as points:
        x, y = torch.tensor(points["x"]), torch.tensor(points["y"])
    start, radii = time.process_time(), [float(word) for word in eps.split(",")]
    if len(radii) == 1:
        found = TOOLS[tool](net, x, y, (norm, radii[0]))
    else:
        parts = zip(x[:, None], y[:, None], radii, strict=True)
        found = torch.cat([TOOLS[tool](net, one, label, (norm, radius)) for one, label, radius in parts])
    seconds = time.process_time() - start
    np.savez(
        Path(target), x=found.detach().numpy(), cost=np.array([net.sent, net.differentiated]), seconds=seconds
    )


if __name__ == "__main__":
    main()
