"""A network of ReLUs over a ball as a mixed-integer program: one switch per ReLU whose sign is open.

The encoding is that of Tjeng, Xiao and Tedrake 2019 (arXiv 1711.07356v3, section 4.2: equation 4 for ReLU,
equation 5 for the largest of several), on the steps that bound propagation found: whatever is affine between
two corners is pulled together, so convolutions, pools, normalisation and residual sums need no rule here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch
from scipy import sparse

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.backward import evaluated, order
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.rows import Rows
from modelward.threats.evasion.bounds.steps import Join, Largest, Linear, Moved, Rectified, Scaled, Sum

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.bounds.steps import Step
    from modelward.threats.evasion.reach import Reach

_AFFINE: Final = (Linear, Moved, Scaled, Sum, Join)
_DENSE: Final = 1 << 22
"""Coefficients held dense at once."""
_NONZERO: Final = 4_000_000
"""Coefficients beyond which no solver would come far, and memory would be short."""
_SHORT: Final = 1e-9
_INSIDE: Final = 1e-6
"""By which share sums stay inside the ball, for the solver's tolerance."""


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """The switches of one layer.

    Attributes:
        step: a ReLU, or the largest of several.
        entry: (m,) positions in the flat argument of the layer.
        switch: (m,) variables: 1 where a ReLU is open, or where this entry is the largest.
        span: (m,) > 0 length of the interval of the entry.
        result: (m,) positions in the flat result.
    """

    step: Rectified | Largest
    entry: IntArray
    switch: IntArray
    span: FloatArray
    result: IntArray


@final
class Program:
    """Variables with limits, and rows least <= A v <= most. The first variables are the flat input.

    Args:
        low: (d,) limits of the input.
        high: likewise.
        whole: (d,) inputs that are whole numbers.
        point: which row of the bounds is meant.

    Attributes:
        low: (v,) limits of all variables.
        high: likewise.
        whole: (v,) variables that are whole numbers.
        gates: switches, layer by layer.
        held: which variable is each entry of the flat result of a step, -1 for the constant 0.
        point: as given.
    """

    def __init__(self, low: FloatArray, high: FloatArray, whole: BoolArray, point: int = 0) -> None:
        self.low, self.high, self.whole, self.point = low, high, whole, point
        self.gates: list[Gate] = []
        self.held: dict[Step, IntArray] = {}
        self._blocks: list[sparse.csr_array] = []
        self._sides: list[tuple[FloatArray, FloatArray]] = []

    def variables(self, low: FloatArray, high: FloatArray, *, whole: bool = False) -> IntArray:
        """Add some; their numbers."""
        first = len(self.low)
        self.low, self.high = np.concatenate([self.low, low]), np.concatenate([self.high, high])
        self.whole = np.concatenate([self.whole, np.full(len(low), whole)])
        return np.arange(first, len(self.low))

    def require(self, matrix: sparse.sparray, least: FloatArray, most: FloatArray) -> None:
        """Add rows; their columns may be fewer than there are variables."""
        self._blocks.append(sparse.csr_array(matrix))
        self._sides.append((least, most))

    def pick(self, variable: IntArray, factor: FloatArray | float = 1.0) -> sparse.csr_array:
        """One row per variable named, times a factor."""
        data, row = np.broadcast_to(factor, len(variable)), np.arange(len(variable))
        return sparse.csr_array((data, (row, variable)), shape=(len(variable), len(self.low)))

    def rows(self) -> tuple[sparse.csr_array, FloatArray, FloatArray]:
        """All rows: matrix, least, most."""
        width = len(self.low)
        for block in self._blocks:
            block.resize((block.shape[0], width))
        if not self._blocks:
            return sparse.csr_array((0, width)), np.zeros(0), np.zeros(0)
        least, most = (np.concatenate(part) for part in zip(*self._sides, strict=True))
        return sparse.csr_array(sparse.vstack(self._blocks)), least, most

    def affine(self, value: Enclosure, a: torch.Tensor) -> tuple[sparse.csr_array, FloatArray]:
        """A . value in the variables: matrix and constant.

        Args:
            value: behind which only affine steps lie, up to those that are held.
            a: (r, *shape) float64.

        Raises:
            OperatorUnsupported: names the step that is not.
        """
        if value.step is None:
            raise OperatorUnsupported("no encoding of a value without steps")
        rows = Rows(torch.full((len(a),), self.point))
        offset = torch.zeros(len(a), dtype=torch.float64)
        total = sparse.csr_array((len(a), len(self.low)))
        waiting = {value.step: a}
        for step in order(value.step):
            part = waiting.pop(step, None)
            if part is None:
                continue
            variable = self.held.get(step)
            if variable is not None:
                total = total + _placed(part.flatten(1).numpy(), variable, len(self.low))
                continue
            if not isinstance(step, _AFFINE):
                raise OperatorUnsupported(f"no encoding of {type(step).__name__}")
            parts, more = step.pull(part, rows)
            offset = offset + more
            for parent, piece in zip(step.parents, parts, strict=True):
                if parent.step is None:
                    raise OperatorUnsupported("no encoding of a value without steps")
                known = waiting.get(parent.step)
                waiting[parent.step] = piece if known is None else known + piece
        return total, offset.numpy()

    def entries(self, value: Enclosure, place: IntArray) -> tuple[sparse.csr_array, FloatArray]:
        """Some entries of the flat value in the variables: matrix and constant."""
        shape = value.shape[1:]
        widest = max(_widths(value))
        matrices, constants = [], [np.zeros(0)]
        for part in np.array_split(place, max(1, len(place) * widest // _DENSE)):
            a = torch.zeros((len(part), shape.numel()), dtype=torch.float64)
            a[torch.arange(len(part)), torch.from_numpy(part)] = 1.0
            matrix, constant = self.affine(value, a.reshape(-1, *shape))
            matrices.append(matrix)
            constants.append(constant)
        return sparse.csr_array(sparse.vstack(matrices)), np.concatenate(constants)

    def states(self, last: Step, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the switches are at an input, and how far each is from the other state.

        Args:
            last: the network's result.
            x: (*shape) input.

        Returns:
            (s,) 0 or 1, and (s,) distances in lengths of the entries' intervals, in the order of the gates.
        """
        values = evaluated(last, torch.from_numpy(x)[None])
        states, far = [np.zeros(0)], [np.zeros(0)]
        if values is None:
            raise AssertionError("a program was made of a network whose values are not all known")
        for gate in self.gates:
            before = gate.step.source.step
            if before is None:
                raise AssertionError("a gate without an argument")
            argument = values[before].flatten(1)[0].numpy()[gate.entry]
            if isinstance(gate.step, Rectified):
                states.append((argument > 0).astype(np.float64))
                far.append(np.abs(argument) / gate.span)
            else:
                gap = values[gate.step].flatten(1)[0].numpy()[gate.result] - argument
                _, first = np.unique(np.where(gap <= 0, gate.result, -1), return_index=True)
                states.append(np.isin(np.arange(len(gap)), first[gap[first] <= 0]).astype(np.float64))
                far.append(gap / gate.span)
        return np.concatenate(states), np.concatenate(far)

    @property
    def nonzero(self) -> int:
        """Coefficients in all rows."""
        return sum(block.nnz for block in self._blocks)

    @property
    def switches(self) -> IntArray:
        """Variables of all switches, in the order of the gates."""
        return np.concatenate([np.zeros(0, np.int64), *(gate.switch for gate in self.gates)])


def within(program: Program, reach: Reach, point: int) -> bool:
    """Add the ball of a point beside its box; false for a norm that no rows describe.

    Args:
        program: with the limits of the input, other variables may follow.
        reach: what may change.
        point: its position in the reach.
    """
    norm, eps = reach.threat.norm, reach.threat.eps
    if norm == "linf":
        return True
    if norm not in {"l1", "l0"}:
        return False
    origin, scale = (part.astype(np.float64).ravel() for part in (reach.points[point], reach.scale))
    moved = np.flatnonzero(program.low[: len(origin)] < program.high[: len(origin)])
    low, high, origin = program.low[moved], program.high[moved], origin[moved]
    if norm == "l1":  # t >= |x - c| in units, the sum of t is at most eps
        owner, count, most = np.arange(len(moved)), len(moved), eps * (1 - _INSIDE)
        down = up = scale[moved]
        spent = program.variables(np.zeros(count), np.maximum(high - origin, origin - low) / up)
    else:  # one switch per cell
        _, owner = np.unique(reach.cells.ravel()[moved], return_inverse=True)
        count, most = int(owner.max(initial=-1)) + 1, float(np.floor(eps))
        down, up = origin - low, high - origin
        spent = program.variables(np.zeros(count), np.ones(count), whole=True)
    x, none = program.pick(moved), np.full(len(moved), np.inf)
    program.require(x - program.pick(spent[owner], up), -none, origin)
    program.require(x + program.pick(spent[owner], down), origin, none)
    program.require(
        sparse.csr_array(program.pick(spent).sum(axis=0)[None]), np.array([-np.inf]), np.array([most])
    )
    return True


def encode(program: Program, value: Enclosure, most: int) -> bool:
    """Add everything that lies between the input and a value; false where the program grows too large.

    Args:
        program: holds the input's variables only.
        value: (n, k) with steps, its arguments of ReLU bounded as tightly as they can be.
        most: switches allowed.

    Raises:
        OperatorUnsupported: names the step without an encoding.
    """
    if value.step is None:
        raise OperatorUnsupported("no encoding of a value without steps")
    steps = order(value.step)[::-1]
    for step in steps:  # before anything large is computed
        if not isinstance(step, (*_AFFINE, Source, Rectified, Largest)):
            raise OperatorUnsupported(f"no encoding of {type(step).__name__}")
    for step in steps:
        if isinstance(step, (Rectified, Largest)) and _splits(program, step) + len(program.switches) > most:
            return False
        if isinstance(step, Source):
            program.held[step] = np.arange(step.lower[0].numel())
        elif isinstance(step, Rectified):
            _rectified(program, step)
        elif isinstance(step, Largest):
            _largest(program, step)
        if program.nonzero > _NONZERO:
            return False
    return True


def _ends(program: Program, step: Rectified | Largest) -> tuple[FloatArray, FloatArray]:
    """(entries,) both ends of the flat argument."""
    ends = (step.source.lower, step.source.upper)
    low, high = (end[program.point].detach().flatten().double().numpy() for end in ends)
    return low, high


def _splits(program: Program, step: Rectified | Largest) -> int:
    """How many switches a step takes, about."""
    low, high = _ends(program, step)
    if isinstance(step, Rectified):
        return int(((low < 0) & (high > 0)).sum())
    return step.windows.numel()


def _rectified(program: Program, step: Rectified) -> None:
    """Equation 4: h >= z, h >= 0, h <= z - l (1 - s), h <= u s."""
    low, high = _ends(program, step)
    live = np.flatnonzero(high > 0)
    held = np.full(len(low), -1)
    held[live] = program.variables(low[live].clip(0), high[live])
    program.held[step] = held
    if not len(live):
        return
    split = low[live] < 0
    at = live[split]
    switch = program.variables(np.zeros(len(at)), np.ones(len(at)), whole=True)
    z, constant = program.entries(step.source, live)
    gap = program.pick(held[live]) - z
    program.require(gap, constant, np.where(split, np.inf, constant))
    low, high, none = low[at], high[at], np.full(len(at), -np.inf)
    program.require(gap[split] - program.pick(switch, low), none, constant[split] - low)
    program.require(program.pick(held[at]) - program.pick(switch, high), none, np.zeros(len(at)))
    program.gates.append(Gate(step, at, switch, high - low, at))


def _largest(program: Program, step: Largest) -> None:
    """Equation 5: m >= v, m <= v + (U - l) (1 - s), one s is 1; U is the largest upper end of the window."""
    low, high = _ends(program, step)
    windows = step.windows.numpy()
    inside = windows >= 0
    floor = np.where(inside, low[windows], -np.inf).max(axis=1)
    roof = np.where(inside, high[windows], -np.inf).max(axis=1)
    held = program.variables(floor, roof)
    program.held[step] = held
    result, column = np.nonzero(inside & (high[windows] >= floor[:, None]))
    entry, many = windows[result, column], np.bincount(result)[result] > 1
    switch = program.variables(np.zeros(many.sum()), np.ones(many.sum()), whole=True)
    value, constant = program.entries(step.source, entry)
    gap = program.pick(held[result]) - value
    program.require(gap, constant, np.where(many, np.inf, constant))
    entry, result, constant = entry[many], result[many], constant[many]
    room = roof[result] - low[entry]
    program.require(gap[many] + program.pick(switch, room), np.full(len(entry), -np.inf), constant + room)
    owner, row = np.unique(result, return_inverse=True)
    one = sparse.csr_array((np.ones(len(row)), (row, switch)), shape=(len(owner), len(program.low)))
    program.require(one, np.ones(len(owner)), np.ones(len(owner)))
    program.gates.append(Gate(step, entry, switch, np.maximum(room, _SHORT), result))


def _placed(part: FloatArray, variable: IntArray, width: int) -> sparse.csr_array:
    """Coefficients of entries as coefficients of variables."""
    row, column = np.nonzero((part != 0) & (variable >= 0))
    return sparse.csr_array((part[row, column], (row, variable[column])), shape=(len(part), width))


def _widths(value: Enclosure) -> list[int]:
    """Entries of all values behind one, itself included."""
    steps = order(value.step) if value.step is not None else []
    values = [value, *(parent for step in steps for parent in step.parents)]
    return [value.shape[1:].numel() for value in values]
