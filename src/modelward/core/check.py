"""Checks: what measures, what it may look at, and what it must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.data import Dataset, Ratings
    from modelward.core.evidence import Evidence
    from modelward.core.model import Model, Recommender
    from modelward.core.subject import Subject

Norm: TypeAlias = Literal["linf", "l2", "l1", "l0", "patch"]
Preset: TypeAlias = Literal["quick", "standard", "thorough"]
Need: TypeAlias = Literal[
    "artifact",
    "model",
    "gradients",
    "trees",
    "data",
    "labels",
    "training data",
    "sensitive columns",
    "recommender",
]


class Similarity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How alike a changed text must be to its original; each in [0, 1], larger is stricter.

        Similarity(levenshtein=0.9, cosine=0.8)

    Attributes:
        levenshtein: smallest normalised similarity, 1 - edits / length of the longer text.
        trigrams: smallest share of common character trigrams.
        cosine: smallest cosine between a word and what replaces it (Jin et al. 2020, "TextFooler", arXiv
            1907.11932v6).
    """

    levenshtein: float = 0.8
    trigrams: float = 0.5
    cosine: float = 0.7


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the user may choose about the checks; part of a run's identity.

    Attributes:
        norms: threat-model norms.
        eps: radii in the box's unit (``l0``: how many pixels or features, ``patch``: share of the image's
            area), each above 0; empty means the default for the kind of data.
        limit: at most this many points are attacked and certified.
        preset: how hard attacks and proofs try.
        similarity: what a changed text must keep.
        confidence: coverage of every interval, in (0, 1).
    """

    norms: tuple[Norm, ...] = ("linf", "l2")
    eps: tuple[float, ...] = ()
    limit: int = 200
    preset: Preset = "standard"
    similarity: Similarity = Similarity()
    confidence: float = 0.95


class Attachments(Protocol):
    """Where a check leaves arrays that evidence refers to."""

    def put(self, arrays: Mapping[str, NDArray[np.generic]]) -> str:
        """Store named arrays and return their digest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Everything one audit looks at.

    Attributes:
        artifact: the model file or directory and its identity, or null for a live object.
        model: the opened model, or null when it was not opened.
        data: samples to measure on.
        train: samples the model was trained on.
        recommender: its identity, the recommender, and the ratings that it learns from.
        attachments: where arrays go.
        earlier: what the checks before this one recorded in the same run, so that no work is done twice.
    """

    artifact: tuple[Path, Subject] | None = None
    model: Model | None = None
    data: Dataset | None = None
    train: Dataset | None = None
    recommender: tuple[Subject, Recommender, Ratings] | None = None
    attachments: Attachments
    earlier: tuple[Evidence, ...] = ()

    def digests(self) -> dict[str, str]:
        """Role to digest, for evidence."""
        found: dict[str, Subject | None] = {
            "artifact": self.artifact[1] if self.artifact else None,
            "model": self.model.subject if self.model else None,
            "data": self.data.subject if self.data else None,
            "train": self.train.subject if self.train else None,
            "recommender": self.recommender[0] if self.recommender else None,
            "ratings": self.recommender[2].subject if self.recommender else None,
        }
        return {role: subject.digest for role, subject in found.items() if subject is not None}


class Check(Protocol):
    """One way of measuring. Constructed with `Settings`; holds no other state."""

    id: str
    version: int

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be measured, in one sentence; null when they can.

        What the catalogue's `needs` say was already asked.
        """
        ...

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Measure, yielding evidence as it becomes available.

        Args:
            subjects: what to look at.
            budget: asked before every expense; when it refuses, yield what there is and end.
            seed: the only source of randomness, ``0 <= seed < 2**53``.
        """
        ...
