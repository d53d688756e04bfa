"""Whether a point of a small ReLU net is attackable, decided by a mixed-integer solver.

The encoding is that of Tjeng et al. 2019 (arXiv 1711.07356v3, section 4): one binary variable per rectifier
that bounds leave undecided. Bounds are intervals in the first layer, and linear programs over the layers
before in all others. HiGHS solves both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, lil_array
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MARGIN = 1e-3
"""By how much the wrong score must be the higher one, so that float32 sees it too."""
SECONDS = 90.0
"""For one point and one class, by the wall clock."""
GOALS = 9
"""The likeliest classes are tried."""
STEPS = 100
HALVINGS = 11
WIDEST = 0.5


@final
@dataclass(slots=True)
class _Program:
    """Rows A v <= b over variables with limits, grown layer by layer.

    Attributes:
        low: limits of each variable.
        high: likewise.
        rows: coefficients of each row, by variable.
        right: b.
        binary: variables that are 0 or 1.
        last: the variables of the layer grown last.
    """

    low: list[float]
    high: list[float]
    rows: list[dict[int, float]]
    right: list[float]
    binary: list[int]
    last: list[int]

    def matrix(self) -> csr_array:
        """A, (rows, variables)."""
        full = lil_array((len(self.rows), len(self.low)))
        for i, row in enumerate(self.rows):
            for j, value in row.items():
                full[i, j] = value
        return full.tocsr()

    def variable(self, low: float, high: float) -> int:
        """A new one."""
        self.low.append(low)
        self.high.append(high)
        return len(self.low) - 1

    def limits(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Limits of each w h + b: by intervals, then by linear programs where the sign is open."""
        low, high = (np.array(side)[self.last] for side in (self.low, self.high))
        plus, minus = weight.clip(min=0), weight.clip(max=0)
        below, above = plus @ low + minus @ high + bias, plus @ high + minus @ low + bias
        if not self.rows:
            return below, above
        matrix, right, sides = (
            self.matrix(),
            np.array(self.right),
            list(zip(self.low, self.high, strict=True)),
        )
        for i in np.flatnonzero((below < 0) & (above > 0)):
            for sign, bound in ((1.0, below), (-1.0, above)):
                goal = np.zeros(len(self.low))
                goal[self.last] = sign * weight[i]
                found = linprog(goal, matrix, right, bounds=sides, method="highs")
                if found.status == 0:  # a little outwards, for the solver's own tolerance
                    tight = sign * found.fun + bias[i] - sign * 1e-6
                    bound[i] = max(bound[i], tight) if sign > 0 else min(bound[i], tight)
        return below, above

    def rectified(self, weight: Array, bias: Array) -> None:
        """Add a layer max(0, w h + b)."""
        below, above = self.limits(weight, bias)
        before, self.last = self.last, []
        for w, b, low, high in zip(weight, bias, below, above, strict=True):
            z = self.variable(max(0.0, low), max(0.0, high))
            self.last.append(z)
            if high <= 0:
                continue
            terms = dict(zip(before, w, strict=True))
            self.rows.append({**terms, z: -1.0})
            self.right.append(-b)
            inverse = {j: -value for j, value in terms.items()}
            if low >= 0:
                self.rows.append({**inverse, z: 1.0})
                self.right.append(b)
                continue
            switch = self.variable(0.0, 1.0)
            self.binary.append(switch)
            self.rows += [{**inverse, z: 1.0, switch: -low}, {z: 1.0, switch: -high}]
            self.right += [b - low, 0.0]


def witness(net: nn.Sequential, x: torch.Tensor, y: int, eps: float) -> torch.Tensor | None:
    """An input within eps (Linf) and [0, 1] that the net misjudges, or null where none was found in time.

    Args:
        net: Flatten, then Linear and ReLU in turn.
        x: one sample.
        y: its class.
        eps: the radius.
    """
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    pairs = [(q.weight.detach().double().numpy(), q.bias.detach().double().numpy()) for q in layers]
    centre = x.double().flatten().numpy()
    inner = eps * (1 - 1e-6)
    low, high = (centre - inner).clip(0, 1), (centre + inner).clip(0, 1)
    program = _Program(low.tolist(), high.tolist(), [], [], [], list(range(len(centre))))
    for weight, bias in pairs[:-1]:
        program.rectified(weight, bias)
    weight, bias = pairs[-1]
    with torch.no_grad():
        order = net(x[None])[0].argsort(descending=True).tolist()[: GOALS + 1]
    for goal in order:
        if goal == y:
            continue
        found = _solve(program, weight[goal] - weight[y], float(bias[goal] - bias[y]))
        if found is None:
            continue
        candidate = torch.tensor(found[: len(centre)].clip(low, high), dtype=torch.float32).reshape(x.shape)
        size = (candidate.double() - x.double()).abs().max()
        with torch.no_grad():
            wrong = int(net(candidate[None]).argmax()) != y
        if wrong and float(size) <= eps and candidate.min() >= 0 and candidate.max() <= 1:
            return candidate
    return None


def edges(net: nn.Module, part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """(n,) the smallest radii (Linf) at which descents break points, by halving intervals from 0 to 0.5.

    Each descent has 100 steps with momentum and goes towards one class, from the point or a random place.
    """
    x, y = part
    low, high = torch.zeros(len(x)), torch.full((len(x),), WIDEST)
    for number in range(HALVINGS):
        middle = (low + high) / 2
        fell = torch.zeros(len(x), dtype=torch.bool)
        chance = torch.Generator().manual_seed(number)
        for shift in range(1, 10):
            for start in range(2):
                rows = torch.nonzero(~fell).flatten()
                noise = torch.rand(x[rows].shape, generator=chance) * 2 - 1
                goal = (y[rows] + shift) % 10
                fell[rows] |= _descended(net, (x[rows], y[rows], goal), middle[rows], noise * start)
        low, high = torch.where(fell, low, middle), torch.where(fell, middle, high)
    return high


def _descended(
    net: nn.Module,
    part: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    radius: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """(n,) whether a descent of the margin to a goal passes a wrong answer on its way."""
    x, y, goal = part
    eps = radius.reshape(-1, 1, 1, 1)
    now, drift, fell = (
        (x + eps * noise).clamp(0, 1),
        torch.zeros_like(x),
        torch.zeros(len(x), dtype=torch.bool),
    )
    for step in range(STEPS):
        now.requires_grad_()
        scores = net(now)
        fell |= scores.argmax(1) != y
        margin = scores.gather(1, y[:, None]) - scores.gather(1, goal[:, None])
        (slope,) = torch.autograd.grad(margin.sum(), now)
        drift = 0.6 * drift + slope / slope.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-20)
        length = 0.5 * eps * (1 + math.cos(math.pi * step / STEPS))
        now = (now.detach() - length * drift.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return fell


def _solve(program: _Program, slope: Array, offset: float) -> Array | None:
    """A point of the program where the wrong class leads by the margin."""
    matrix = program.matrix()
    lead = np.zeros((1, len(program.low)))
    lead[0, program.last] = slope
    whole = np.zeros(len(program.low))
    whole[program.binary] = 1
    found = milp(
        np.zeros(len(program.low)),
        integrality=whole,
        bounds=Bounds(np.array(program.low), np.array(program.high)),
        constraints=[
            LinearConstraint(matrix, -np.inf, np.array(program.right)),
            LinearConstraint(lead, MARGIN - offset, np.inf),
        ],
        options={"time_limit": SECONDS},
    )
    return None if found.x is None else np.asarray(found.x, np.float64)
