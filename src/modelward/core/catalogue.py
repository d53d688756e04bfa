"""The static catalogue: every check and every claim, known without importing any of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from modelward.core.check import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelward.core.check import Check, Settings
    from modelward.core.claim import Judgement
    from modelward.core.evidence import Evidence

    Judge: TypeAlias = Callable[[Sequence[Evidence]], Judgement]


class CheckEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One check.

    Attributes:
        id: dotted; the first part names its room.
        path: ``package.module:Class``; the class takes `Settings`.
        summary: one line.
        needs: what must be present; asked by the engine before `Check.declines`.
        feeds: ids of the claims its evidence supports.
        extra: the optional dependency group it needs, or null.
        share: its part of a run's budget, relative to the other planned checks.
    """

    id: str
    path: str
    summary: str
    needs: tuple[Need, ...]
    feeds: tuple[str, ...]
    extra: str | None = None
    share: int = 1


class ClaimEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of claim.

    Attributes:
        id: what policies and reports call it.
        path: ``package.module:function``, the one judge of this claim.
        summary: one line.
    """

    id: str
    path: str
    summary: str


CHECKS: tuple[CheckEntry, ...] = (
    CheckEntry(
        id="artifact.pickle",
        path="modelward.artifact.check:PickleCheck",
        summary="Reads the file as its loader would, and loads nothing: inert, dangerous or unproven.",
        needs=("artifact",),
        feeds=("load-is-inert",),
    ),
    CheckEntry(
        id="quality",
        path="modelward.threats.quality.check:QualityCheck",
        summary="Accuracy, AUC and calibration with intervals: the baseline of every other number.",
        needs=("model", "data", "labels"),
        feeds=("accuracy", "auc", "calibration-error"),
    ),
    CheckEntry(
        id="evasion.gradient",
        path="modelward.threats.evasion.gradient.check:GradientCheck",
        summary="A cascade of gradient attacks under five norms, cheap ones first.",
        needs=("model", "gradients", "data", "labels"),
        feeds=("robust-accuracy",),
        extra="torch",
        share=4,
    ),
    CheckEntry(
        id="evasion.query",
        path="modelward.threats.evasion.query.check:QueryCheck",
        summary="Random search by scores, boundary search by decisions alone, within what tables allow.",
        needs=("model", "data", "labels"),
        feeds=("robust-accuracy",),
        share=4,
    ),
    CheckEntry(
        id="evasion.certified",
        path="modelward.threats.evasion.certified:CertifiedCheck",
        summary="Intervals, linear relaxation, branch and bound: points that no attack in a ball can change.",
        needs=("model", "gradients", "data", "labels"),
        feeds=("robust-accuracy",),
        extra="torch",
        share=4,
    ),
    CheckEntry(
        id="evasion.smoothing",
        path="modelward.threats.evasion.smoothing.check:SmoothingCheck",
        summary="Randomised smoothing: L2 certificates of the model's majority over noise, by queries.",
        needs=("model", "data", "labels"),
        feeds=("smoothed-accuracy",),
    ),
    CheckEntry(
        id="evasion.trees",
        path="modelward.threats.evasion.trees.check:TreesCheck",
        summary="Exact search over the leaves of tree ensembles: smallest changes, and proofs of none.",
        needs=("model", "trees", "data", "labels"),
        feeds=("robust-accuracy",),
        share=4,
    ),
    CheckEntry(
        id="evasion.text",
        path="modelward.threats.evasion.text.check:TextCheck",
        summary="Edits, lookalikes, invisible characters and synonyms that turn a text classifier.",
        needs=("model", "data", "labels"),
        feeds=("robust-accuracy",),
        share=4,
    ),
    CheckEntry(
        id="evasion.corruption",
        path="modelward.threats.evasion.corruption.check:CorruptionCheck",
        summary="Noise, blur, weather, compression, lost and mixed-up numbers; the worst turn and shift.",
        needs=("model", "data", "labels"),
        feeds=("corruption-accuracy", "motion-accuracy"),
        share=2,
    ),
    CheckEntry(
        id="evasion.profiles",
        path="modelward.threats.evasion.profiles.check:ProfilesCheck",
        summary="Invented users of a recommender that push or nuke items, and how visible they are.",
        needs=("recommender",),
        feeds=("recommender-shift",),
        share=4,
    ),
    CheckEntry(
        id="evasion.cost",
        path="modelward.threats.evasion.cost.check:CostCheck",
        summary="Genetic search for inputs that take long, by the time of each call; denser activations.",
        needs=("model", "data"),
        feeds=("cost-inflation",),
    ),
    CheckEntry(
        id="leakage.membership",
        path="modelward.threats.leakage.membership:MembershipCheck",
        summary="Tells training rows from others by the model's confidence.",
        needs=("model", "data", "labels", "training data"),
        feeds=("membership-auc", "membership-tpr"),
    ),
    CheckEntry(
        id="bias.groups",
        path="modelward.threats.bias.groups:GroupsCheck",
        summary="Five group metrics over all intersections of up to three sensitive columns.",
        needs=("model", "data", "labels", "sensitive columns"),
        feeds=("group-gap",),
    ),
    CheckEntry(
        id="robustness.inputs",
        path="modelward.threats.robustness.inputs:InputsCheck",
        summary="NaN, infinite, extreme, empty, huge, wrong-shape and wrong-type inputs.",
        needs=("model", "data"),
        feeds=("input-faults",),
    ),
    CheckEntry(
        id="opacity.importance",
        path="modelward.threats.opacity.importance:ImportanceCheck",
        summary="Permutation importance, and what survives on the single strongest feature.",
        needs=("model", "data", "labels"),
        feeds=("shortcut",),
        share=2,
    ),
)

CLAIMS: tuple[ClaimEntry, ...] = (
    ClaimEntry(
        id="accuracy",
        path="modelward.threats.quality.judge:judge_accuracy",
        summary="Share of samples the model gets right.",
    ),
    ClaimEntry(
        id="auc",
        path="modelward.threats.quality.judge:judge_auc",
        summary="How often a row of a class scores above one of another class.",
    ),
    ClaimEntry(
        id="calibration-error",
        path="modelward.threats.quality.judge:judge_calibration",
        summary="Average distance between stated confidence and frequency of being right.",
    ),
    ClaimEntry(
        id="robust-accuracy",
        path="modelward.threats.evasion.judge:judge_robust_accuracy",
        summary="Share of samples that stay right under every change within eps: proof below, attack above.",
    ),
    ClaimEntry(
        id="smoothed-accuracy",
        path="modelward.threats.evasion.smoothing.judge:judge_smoothed_accuracy",
        summary="Share of samples that the model smoothed by noise provably gets right within eps.",
    ),
    ClaimEntry(
        id="corruption-accuracy",
        path="modelward.threats.evasion.corruption.judge:judge_corruption_accuracy",
        summary="Share of samples the model gets right after common corruptions without an attacker.",
    ),
    ClaimEntry(
        id="motion-accuracy",
        path="modelward.threats.evasion.corruption.judge:judge_motion_accuracy",
        summary="Share of images that stay right under every turn and shift that was tried.",
    ),
    ClaimEntry(
        id="recommender-shift",
        path="modelward.threats.evasion.profiles.judge:judge_recommender_shift",
        summary="How far a few invented users move a recommender's scores, as a share of the rating scale.",
    ),
    ClaimEntry(
        id="cost-inflation",
        path="modelward.threats.evasion.cost.judge:judge_cost_inflation",
        summary="How many times as long the model takes, or is kept busy, by the dearest input found.",
    ),
    ClaimEntry(
        id="membership-auc",
        path="modelward.threats.leakage.judge:judge_auc",
        summary="How well confidence tells training rows from others; 0.5 is chance.",
    ),
    ClaimEntry(
        id="membership-tpr",
        path="modelward.threats.leakage.judge:judge_tpr",
        summary="Share of training rows exposed at a low false-positive rate.",
    ),
    ClaimEntry(
        id="group-gap",
        path="modelward.threats.bias.judge:judge_gap",
        summary="Largest difference of a group metric between any two groups.",
    ),
    ClaimEntry(
        id="input-faults",
        path="modelward.threats.robustness.judge:judge_inputs",
        summary="Share of malformed inputs that the model does not refuse cleanly.",
    ),
    ClaimEntry(
        id="load-is-inert",
        path="modelward.artifact.judge:judge_load",
        summary="Whether loading the file is proven to do nothing but build data.",
    ),
    ClaimEntry(
        id="shortcut",
        path="modelward.threats.opacity.judge:judge_shortcut",
        summary="Accuracy that survives on the single strongest feature alone.",
    ),
)


def check_entry(check_id: str) -> CheckEntry:
    """The entry of one check.

    Raises:
        KeyError: there is no such check.
    """
    return {entry.id: entry for entry in CHECKS}[check_id]


def load_check(entry: CheckEntry) -> Callable[[Settings], Check]:
    """Import a check's class."""
    return cast("Callable[[Settings], Check]", _resolve(entry.path))


def load_judge(entry: ClaimEntry) -> Judge:
    """Import a claim's judge."""
    return cast("Judge", _resolve(entry.path))


def _resolve(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
