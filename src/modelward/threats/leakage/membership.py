"""Confidence-threshold attack: are training rows answered with more confidence in their true label?

Source: Yeom et al. (2018), IEEE CSF, Adversary 2 (threshold on the loss); score as in Carlini et al. (2022),
IEEE S&P, section VI.A (logit scaling, computed stably).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.numeric.sampling import uniform_sample
from modelward.threats.asking import BATCH, ask, label_trouble, shuffled, targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Settings, Subjects
    from modelward.core.data import Dataset
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

LIMIT = 10_000
"""At most this many members and as many others are asked about."""


@final
class MembershipCheck:
    """Ranks training rows and other rows together by the margin of the true label."""

    id = "leakage.membership"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._confidence = settings.confidence

    def declines(self, subjects: Subjects) -> str | None:
        """Both sets need labels that the model knows, the same shape, and rows of their own."""
        model, data, train = subjects.model, subjects.data, subjects.train
        if model is None or data is None or train is None or not (len(data) and len(train)):
            return "there is no model, no data or no training data"
        if data.textual or train.textual:
            return "the data is texts, and rows are told apart as numbers here"
        if data.x.shape[1:] != train.x.shape[1:]:
            return f"training rows have shape {train.x.shape[1:]}, other rows {data.x.shape[1:]}"
        trouble = label_trouble(model, data) or label_trouble(model, train)
        if trouble is not None:
            return trouble
        shared_train, shared_data = shared_rows(train, data)
        if shared_train.all() or shared_data.all():
            return "every row of one set also occurs in the other, so members cannot be told from others"
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Ask about members and others in a mixed random order; a cut leaves a uniform sample of both."""
        model, data, train = subjects.model, subjects.data, subjects.train
        if model is None or data is None or train is None:
            return
        shared_train, shared_data = shared_rows(train, data)
        members = _choose(train, ~shared_train, seed=child_seed(seed, "members"))
        others = _choose(data, ~shared_data, seed=child_seed(seed, "others"))
        member, position = _mix(members, others)

        def gather(part: slice) -> NDArray[np.generic]:
            inside, row = member[part], position[part]
            batch = np.empty((len(row), *data.x.shape[1:]), np.result_type(train.x.dtype, data.x.dtype))
            batch[inside], batch[~inside] = train.x[row[inside]], data.x[row[~inside]]
            return batch

        scores = ask(model, gather, len(member), budget=budget)
        member, position = member[: len(scores)], position[: len(scores)]
        if member.all() or not member.any():
            return
        label = np.empty(len(scores), np.int64)
        label[member] = targets(model, train)[position[member]]
        label[~member] = targets(model, data)[position[~member]]
        margin = true_margin(scores, label, model.outputs.kind)
        yield Evidence(
            check=self.id,
            version=self.version,
            parameters={
                "confidence": self._confidence,
                "limit": LIMIT,
                "signal": "correctness" if model.outputs.kind == "labels" else "true-label log-odds",
            },
            n=len(scores),
            seed=seed,
            outcome={
                "members": int(member.sum()),
                "others": int((~member).sum()),
                "shared": {
                    "train": int(shared_train.sum()),
                    "train rows": len(train),
                    "data": int(shared_data.sum()),
                    "data rows": len(data),
                },
                "runs": runs(margin, member),
            },
            unit="rows",
            cost=budget.lap(),
            subjects=subjects.digests(),
            cut=budget.cut,
        )


def _choose(data: Dataset, own: BoolArray, *, seed: int) -> IntArray:
    """Positions to ask about, in random order."""
    candidates = np.flatnonzero(own)
    picked = candidates[uniform_sample(len(candidates), LIMIT, data.subject.digest)]
    return np.asarray(picked[shuffled(len(picked), seed)])


def _mix(members: IntArray, others: IntArray) -> tuple[BoolArray, IntArray]:
    """Both lists in one order that holds them in equal proportion from the start on."""
    place = np.concatenate(
        [(np.arange(len(members)) + 0.5) / len(members), (np.arange(len(others)) + 0.5) / len(others)]
    )
    order = np.argsort(place, kind="stable")
    member = np.arange(len(place)) < len(members)
    return member[order], np.concatenate([members, others])[order]


def shared_rows(train: Dataset, data: Dataset) -> tuple[BoolArray, BoolArray]:
    """Rows whose input occurs in both sets, whatever their label; numbers are compared as float64.

    Returns:
        (len(train),) and (len(data),) bool.
    """
    left, right = _row_hashes(train.x), _row_hashes(data.x)
    return np.isin(left, right), np.isin(right, left)


def _row_hashes(x: NDArray[np.generic]) -> NDArray[np.uint64]:
    """64 bits per row: every word is mixed with its position, then they are summed (mod 2**64).

    Source: the mixing steps are MurmurHash3's 64-bit finaliser (Appleby, public domain).
    """
    hashes = np.empty(len(x), np.uint64)
    place = np.arange(1, 1 + x[:1].size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for start in range(0, len(x), BATCH):
        rows = x[start : start + BATCH]
        # Adding zero turns -0.0 into 0.0: the same number, other bits.
        words = (rows.reshape(len(rows), -1).astype(np.float64) + 0.0).view(np.uint64) ^ place
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            words ^= words >> np.uint64(33)
            words *= np.uint64(factor)
        hashes[start : start + BATCH] = (words ^ (words >> np.uint64(33))).sum(axis=1)
    return hashes


def true_margin(scores: FloatArray, label: IntArray, kind: str) -> FloatArray:
    """How far the true label stands out: log(p / (1 - p)), computed without rounding p to 1.

    Args:
        scores: (n, k) finite.
        label: (n,) column of the true label.
        kind: `Outputs.kind`; for ``labels`` the margin is 1 where the answer is right, else 0.

    Returns:
        (n,) finite float64, increasing with the probability of the true label.
    """
    rows = np.arange(len(scores))
    if kind == "labels":
        return np.asarray(scores[rows, label], np.float64)
    others = np.ones(scores.shape, bool)
    others[rows, label] = False
    rest = scores[others].reshape(len(scores), -1)
    if kind == "logits":
        top = rest.max(axis=1)
        return np.asarray(scores[rows, label] - top - np.log(np.exp(rest - top[:, None]).sum(axis=1)))
    tiny = np.finfo(np.float64).tiny
    true = np.maximum(scores[rows, label], tiny)
    return np.asarray(np.log(true) - np.log(np.maximum(rest.sum(axis=1), tiny)))


def runs(score: FloatArray, member: BoolArray) -> JSON:
    """The ranking as counts [members, others], lowest score first.

    Equal scores stand in one entry. Neighbouring entries of one kind are merged, which changes no AUC, no
    variance of it and no true-positive rate, since nothing of the other kind lies between them.
    """
    _, group = np.unique(score, return_inverse=True)
    inside = np.bincount(group, member).astype(np.int64)
    outside = np.bincount(group) - inside
    kind = np.where(outside == 0, 1, np.where(inside == 0, -1, 0))  # 0: both, never merged
    starts = np.concatenate([[True], (kind[1:] != kind[:-1]) | (kind[1:] == 0)])
    entry = np.cumsum(starts) - 1
    table = np.stack([np.bincount(entry, inside), np.bincount(entry, outside)], axis=1).astype(np.int64)
    return cast("JSON", table.tolist())
