"""Realistic audits: a refused one, a passed one, an undecided one, and the corners."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.evidence import Cost, Evidence
from modelward.core.finding import Finding
from modelward.core.policy import Policy, Threshold, judge_policy
from modelward.core.subject import Subject
from modelward.engine.outcome import CheckRun, Skipped
from modelward.reporting.result import AuditResult

GOLDEN = Path(__file__).parent.parent / "golden" / "reporting"
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "a\x00b\x1b[31mred\x07\x9b2J",
    "invoice\u202egpj.exe\u2066 \u200b\ufeff",
    "{{ 7*7 }}{% raw %}${x}[bold]hi[/bold]",
    "]]><svg onload=alert(1)>-->",
    "lone \udcff surrogate",
    "long " + "x<" * 5000,
)


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SUBJECTS = (
    Subject(
        kind="model",
        name="build/demo/images/cnn.onnx",
        digest="sha256:" + _hex("cnn"),
        format="onnx",
        details={"input": [1, 8, 8], "classes": 10, "outputs": "logits", "parameters": 18_954},
    ),
    Subject(
        kind="dataset",
        name="build/demo/images/test.npz",
        digest="sha256:" + _hex("test"),
        format="npz",
        details={"rows": 360, "shape": [1, 8, 8], "box": "0 to 1, stated"},
    ),
    Subject(
        kind="dataset",
        name="build/demo/images/train.npz",
        digest="sha256:" + _hex("train"),
        format="npz",
        details={"rows": 1437, "shape": [1, 8, 8]},
    ),
)
BOX = {"lower": 0.0, "upper": 1.0, "unit": "box width", "source": "stated"}


def _evidence(check: str, n: int, cost: Cost, **parameters) -> Evidence:
    return Evidence(
        check=check,
        version=1,
        parameters=parameters,
        n=n,
        seed=int(_hex(check)[:12], 16),
        outcome={"correct": n - 9, "survived": [True] * n, "rows": list(range(n))},
        unit="share of samples",
        cost=cost,
        subjects={"model": SUBJECTS[0].digest, "data": SUBJECTS[1].digest},
        attachments={"witnesses": _hex(check + "w")} if check.startswith("evasion.gradient") else {},
    )


def _run(
    check: str, summary: str, *evidence: Evidence, state: str = "finished", cut: str | None = None
) -> CheckRun:
    cost = sum((e.cost for e in evidence), Cost())
    return CheckRun(check=check, summary=summary, state=state, cut=cut, cost=cost, evidence=evidence)


QUALITY = _run(
    "quality",
    "Accuracy, AUC and calibration with intervals: the baseline of every other number.",
    _evidence("quality", 360, Cost(seconds=0.08, queries=360)),
)
GRADIENT = _run(
    "evasion.gradient",
    "Margin descent in Linf and L2 with an active set, on models with gradients.",
    *(
        _evidence(
            "evasion.gradient",
            200,
            Cost(seconds=2.4, forward=52_000, backward=50_000, queries=311),
            norm=norm,
            eps=eps,
            steps=100,
        )
        for norm, eps in (("linf", 0.03), ("linf", 0.1), ("l2", 0.25), ("l2", 0.75))
    ),
)
CERTIFIED = _run(
    "evasion.certified",
    "Interval bound propagation: points that no attack in the ball can change.",
    *(
        _evidence("evasion.certified", 200, Cost(seconds=0.3, forward=400), norm="linf", eps=eps)
        for eps in (0.03, 0.1)
    ),
)
QUERY = _run(
    "evasion.query",
    "Square attack by queries alone, inside the feature constraints of tables.",
    _evidence("evasion.query", 64, Cost(seconds=11.7, queries=64_000), norm="linf", eps=0.1),
    state="cut",
    cut="queries",
)
MEMBERSHIP = _run(
    "leakage.membership",
    "Tells training rows from others by the model's confidence.",
    _evidence("leakage.membership", 720, Cost(seconds=0.2, queries=720)),
)
INPUTS = _run(
    "robustness.inputs",
    "NaN, infinite, extreme, empty, huge, wrong-shape and wrong-type inputs.",
    _evidence("robustness.inputs", 24, Cost(seconds=3.1, queries=24)),
)
IMPORTANCE = _run(
    "opacity.importance",
    "Permutation importance, and what survives on the single strongest feature.",
    _evidence("opacity.importance", 360, Cost(seconds=1.9, queries=46_080)),
)
RUNS = (QUALITY, GRADIENT, CERTIFIED, QUERY, MEMBERSHIP, INPUTS, IMPORTANCE)


def _digests(*runs: CheckRun) -> tuple[str, ...]:
    return tuple(evidence.digest for run in runs for evidence in run.evidence)


def _robust(norm: str, eps: float, bracket: Bracket, note: str = "") -> Claim:
    return Claim(
        id="robust-accuracy",
        statement=f"Share of samples that stay right under every {norm} change of at most {eps:g}.",
        scope={"norm": norm, "eps": eps, "box": BOX},
        bracket=bracket,
        basis="proved" if bracket.lower else "measured",
        n=200,
        cost=Cost(seconds=2.7, forward=52_400, backward=50_000, queries=311),
        evidence=_digests(GRADIENT, CERTIFIED),
        note=note,
    )


def _value(
    claim_id: str, statement: str, value: float, span: tuple[float, float], run: CheckRun, **more
) -> Claim:
    return Claim(
        id=claim_id,
        statement=statement,
        scope=more.pop("scope", {}),
        value=value,
        interval=Interval(lower=span[0], upper=span[1], confidence=0.95),
        n=run.evidence[0].n,
        cost=run.cost,
        evidence=_digests(run),
        **more,
    )


ACCURACY = _value("accuracy", "The model is right on 351 of 360 samples.", 0.975, (0.953, 0.987), QUALITY)
CLAIMS = (
    ACCURACY,
    _robust("linf", 0.03, Bracket(lower=0.715, upper=0.905)),
    _robust(
        "linf",
        0.1,
        Bracket(lower=0.0, upper=0.315),
        "The query attack was cut short; the gradient attack is whole.",
    ),
    _robust("l2", 0.25, Bracket(lower=None, upper=0.84)),
    _robust("l2", 0.75, Bracket(lower=None, upper=0.285)),
    _value(
        "membership-auc",
        "Confidence tells training rows from others with AUC 0.561.",
        0.561,
        (0.519, 0.603),
        MEMBERSHIP,
        better="lower",
    ),
    _value(
        "membership-tpr",
        "At 1 % false positives, 2.2 % of training rows are exposed.",
        0.022,
        (0.011, 0.043),
        MEMBERSHIP,
        better="lower",
        scope={"fpr": 0.01},
        note="Small n: the interval reaches four times the false-positive rate.",
    ),
    _value(
        "input-faults",
        "3 of 24 malformed inputs were not refused cleanly.",
        0.125,
        (0.043, 0.31),
        INPUTS,
        better="lower",
    ),
    _value(
        "shortcut",
        "0.219 accuracy survives on the strongest feature alone.",
        0.219,
        (0.18, 0.265),
        IMPORTANCE,
        better="lower",
        scope={"feature": "pixel 36"},
    ),
)
FINDINGS = (
    Finding(
        rule="evasion.fragile",
        severity="high",
        confidence="high",
        title="Small changes flip most decisions",
        message="Within L∞ 0.1 of the box width, the attack changed 137 of 200 right decisions (68.5 %); nothing is proved above that.",
        location="norm linf, eps 0.1",
        evidence=_digests(GRADIENT)[1:2],
        remedy="Train with adversarial examples at the radius that matters, then audit again; until then keep a human in front of decisions that an adversary profits from.",
        techniques=("AML.T0043", "AML.T0015"),
        controls=("PR.DS-10", "riskModelEvasion"),
    ),
    Finding(
        rule="robustness.silent-nan",
        severity="medium",
        confidence="high",
        title="NaN inputs are answered as if they were data",
        message="3 of 24 malformed inputs got a confident answer: all-NaN, one NaN pixel, and positive infinity.",
        location="input family: non-finite",
        evidence=_digests(INPUTS),
        remedy="Refuse non-finite values before the model is asked.",
        controls=("PR.PS-06",),
    ),
    Finding(
        rule="leakage.above-chance",
        severity="low",
        confidence="medium",
        title="Confidence leaks a little membership",
        message="AUC 0.561 (95 % interval 0.519 to 0.603) excludes chance.",
        evidence=_digests(MEMBERSHIP),
        remedy="Return labels or rounded confidences where callers do not need more.",
        techniques=("AML.T0024.000",),
    ),
)
SKIPPED = (
    Skipped("bias.groups", "No sensitive column was named; name them with --sensitive."),
    Skipped("artifact.pickle", "The model is ONNX and holds no pickle stream."),
)
GLOSSARY = {
    "AML.T0043": "Craft Adversarial Data",
    "AML.T0015": "Evade AI Model",
    "AML.T0024.000": "Infer Training Data Membership",
    "PR.DS-10": "Data in use is protected",
    "PR.PS-06": "Secure software development",
    "riskModelEvasion": "Model evasion",
}
POLICY = Policy(
    name="release",
    max_severity="medium",
    required_checks=("quality", "evasion", "robustness", "bias"),
    require=(
        Threshold(claim="accuracy", at_least=0.95),
        Threshold(claim="robust-accuracy", at_least=0.8, scope={"norm": "linf", "eps": 0.03}),
        Threshold(claim="membership-auc", at_most=0.65),
    ),
)
LENIENT = Policy(name="lenient", max_severity="high", require=(Threshold(claim="accuracy", at_least=0.9),))


def _result(claims=CLAIMS, findings=FINDINGS, skipped=SKIPPED, checks=RUNS, policy=POLICY) -> AuditResult:
    verdict = judge_policy(policy, claims, findings, [r.check for r in checks if r.state == "finished"])
    return AuditResult(
        ledger_head=_hex("head"),
        run=_hex("run"),
        seed=7,
        created="2025-01-02T03:04:05Z",
        command="modelward audit build/demo/images/cnn.onnx --data build/demo/images/test.npz --train build/demo/images/train.npz --seed 7 --budget 2e6p,100000q",
        versions={
            "modelward": "0.1.0",
            "python": "3.11.2",
            "numpy": "2.1.3",
            "torch": "2.13.0",
            "onnxruntime": "1.20.1",
        },
        subjects=SUBJECTS,
        claims=verdict.claims,
        findings=tuple(findings),
        skipped=tuple(skipped),
        checks=tuple(checks),
        verdict=verdict,
        complete=all(r.state == "finished" for r in checks),
    )


def _hostile() -> AuditResult:
    findings = [
        msgspec.structs.replace(
            FINDINGS[0],
            rule=f"rule.{i}{text[:40]}",
            title=text,
            message=text,
            location=text,
            remedy=text,
            techniques=(text[:60],),
        )
        for i, text in enumerate(HOSTILE)
    ]
    claims = [
        msgspec.structs.replace(ACCURACY, statement=text, note=text, scope={text: text, "norm": text})
        for text in HOSTILE
    ]
    subjects = tuple(
        msgspec.structs.replace(SUBJECTS[0], name=text, format=text, details={text: text, "list": [text]})
        for text in HOSTILE
    )
    result = _result(claims, findings, [Skipped(text, text) for text in HOSTILE])
    runs = tuple(
        msgspec.structs.replace(QUALITY, check=text, summary=text, state="failed", cut=text)
        for text in HOSTILE
    )
    reasons = tuple(
        msgspec.structs.replace(r, requirement=HOSTILE[i % 8], detail=HOSTILE[i % 8])
        for i, r in enumerate(result.verdict.reasons)
    )
    verdict = msgspec.structs.replace(result.verdict, policy=HOSTILE[0], reasons=reasons)
    return msgspec.structs.replace(
        result,
        subjects=subjects,
        checks=runs,
        verdict=verdict,
        command=" ".join(HOSTILE),
        versions={HOSTILE[1]: HOSTILE[0]},
    )


def _crowd() -> AuditResult:
    severities = ("info", "low", "medium", "high", "critical")
    findings = [
        msgspec.structs.replace(
            FINDINGS[i % 3],
            rule=f"crowd.rule-{i % 17:02d}",
            severity=severities[i * 7 % 5],
            location=f"column {i}",
        )
        for i in range(100)
    ]
    return _result(findings=findings)


@pytest.fixture(scope="session")
def audits() -> dict[str, AuditResult]:
    """Every audit by name: fail, pass, unknown, nothing, skipped, crowd, hostile."""
    everything = [Skipped(r.check, "The budget was spent before it began.") for r in RUNS]
    quiet = [msgspec.structs.replace(c, note="") for c in CLAIMS[:2]]
    return {
        "fail": _result(),
        "pass": _result(quiet, (), (), (QUALITY, GRADIENT, CERTIFIED), LENIENT),
        "unknown": _result(findings=FINDINGS[1:]),
        "nothing": _result((), (), (), (), LENIENT),
        "skipped": _result((), (), everything, ()),
        "crowd": _crowd(),
        "hostile": _hostile(),
    }


@pytest.fixture(scope="session")
def glossary() -> dict[str, str]:
    return GLOSSARY


@pytest.fixture(scope="session")
def hostile_texts() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture
def golden():
    """Compare with a golden file; MODELWARD_REGENERATE=1 writes it instead (tests/golden/reporting/README.md)."""

    def compare(name: str, content: bytes) -> None:
        path = GOLDEN / name
        if os.environ.get("MODELWARD_REGENERATE") == "1":
            path.write_bytes(content)
        assert path.read_bytes() == content, f"{path.name} differs; regenerate it if the change is meant"

    return compare
