"""Evidence, seeds, budgets and severities as values: what adds, what identifies, what can be decoded again."""

from __future__ import annotations

import hashlib
import json
import math
import string

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.core.catalogue import CHECKS, CLAIMS, check_entry
from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.data import Box
from modelward.core.evidence import Cost, Evidence, finite, to_json
from modelward.core.finding import Finding, severity_rank
from modelward.core.seeds import MAX_SEED, child_seed
from modelward.core.subject import Subject

COSTS = st.builds(
    Cost,
    seconds=st.integers(0, 10**6).map(float),
    forward=st.integers(0, 2**40),
    backward=st.integers(0, 2**40),
    queries=st.integers(0, 2**40),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e6, 1e6)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EVIDENCE = st.builds(
    Evidence,
    check=st.sampled_from([entry.id for entry in CHECKS]),
    version=st.integers(1, 99),
    parameters=st.dictionaries(st.text(max_size=6), JSON, max_size=3),
    n=st.integers(0, 10**6),
    seed=st.integers(0, MAX_SEED - 1),
    outcome=st.dictionaries(st.text(max_size=6), JSON, max_size=3),
    unit=st.text(max_size=6),
    cost=COSTS,
    subjects=st.dictionaries(st.sampled_from(["model", "data"]), st.text(max_size=8), max_size=2),
    attachments=st.dictionaries(st.just("witnesses"), st.text(max_size=8)),
    cut=st.sampled_from([None, "seconds", "passes", "queries", "interrupted"]),
)


def evidence(**changes):
    plain = {
        "check": "quality", "version": 1, "parameters": {}, "n": 1, "seed": 0, "outcome": {"right": 1},
        "unit": "rows", "cost": Cost(), "subjects": {"model": "sha256:00"},
    }  # fmt: skip
    return Evidence(**{**plain, **changes})


@given(COSTS, COSTS, COSTS)
def test_costs_add_up_in_any_order(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Cost() == a


@given(EVIDENCE)
def test_evidence_survives_the_ledger(item):
    """Stored as canonical JSON and read again it is the same evidence under the same digest."""
    stored = json.loads(canonical(to_json(item)))
    again = msgspec.convert(stored, Evidence)
    assert again.digest == item.digest
    assert canonical(to_json(again)) == canonical(to_json(item))


def test_the_digest_is_that_of_the_canonical_json():
    item = evidence()
    assert item.digest == hashlib.sha256(canonical(to_json(item))).hexdigest() or item.digest.endswith(
        hashlib.sha256(canonical(to_json(item))).hexdigest()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"check": "evasion.query"}, {"version": 2}, {"parameters": {"eps": 0.1}}, {"n": 2}, {"seed": 1},
        {"outcome": {"right": 0}}, {"unit": "files"}, {"cost": Cost(queries=1)}, {"cut": "seconds"},
        {"subjects": {"model": "sha256:01"}}, {"attachments": {"witnesses": "sha256:02"}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_field_is_part_of_the_identity(change):
    assert evidence(**change).digest != evidence().digest


def test_the_order_of_parameters_is_not():
    assert evidence(parameters={"a": 1, "b": 2}).digest == evidence(parameters={"b": 2, "a": 1}).digest


@pytest.mark.parametrize(
    "wrong", [{"n": "many"}, {"seed": 1.5}, {"cut": "boredom"}, {"cost": 3}, {"check": None}]
)
def test_what_is_no_evidence_is_not_read(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**to_json(evidence()), **wrong}, Evidence)


def test_values_are_frozen():
    with pytest.raises(AttributeError):
        evidence().n = 2
    with pytest.raises(AttributeError):
        Bracket(0.1, 0.2).lower = 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_with_a_reason(value):
    assert finite(value, "no rows") == {"value": None, "reason": "no rows"}
    canonical(finite(value, "no rows"))


def test_what_is_finite_is_the_number():
    assert finite(np.float64(0.5), "never") == {"value": 0.5}
    assert type(finite(np.float32(0.5), "never")["value"]) is float


def test_a_child_seed_is_what_its_definition_says():
    """The first 53 bits of SHA-256 over the text, computed the long way."""
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(b"7/evasion.query").digest())
    assert child_seed(7, "evasion.query") == int(bits[:53], 2)


@given(
    st.integers(0, MAX_SEED - 1),
    st.lists(st.text(string.ascii_lowercase, min_size=1), unique=True, min_size=2),
)
def test_children_draw_their_own_numbers(seed, labels):
    seeds = [child_seed(seed, label) for label in labels]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= child < MAX_SEED for child in seeds)
    assert seeds == [child_seed(seed, label) for label in labels]


def test_severities_are_ordered():
    ranks = [severity_rank(name) for name in ("info", "low", "medium", "high", "critical")]
    assert ranks == sorted(set(ranks))


def test_a_box_is_described_by_its_extremes():
    box = Box(
        lower=np.array([0.0, -2.0]), upper=np.array([1.0, 5.0]), scale=np.array([1.0, 7.0]),
        unit="training range", source="training data",
    )  # fmt: skip
    assert box.describe() == {
        "lower": -2.0,
        "upper": 5.0,
        "unit": "training range",
        "source": "training data",
    }


@pytest.mark.parametrize("entry", CHECKS, ids=lambda entry: entry.id)
def test_a_check_is_found_by_its_id_and_described(entry):
    assert check_entry(entry.id) is entry
    assert entry.summary.endswith(".")
    assert len(entry.summary) < 100
    assert entry.share >= 1
    assert entry.needs
    assert set(entry.feeds) <= {claim.id for claim in CLAIMS}
    assert ("gradients" in entry.needs) == (entry.extra == "torch")


def test_claims_and_findings_survive_json():
    claim = Claim(
        id="accuracy", statement="x", scope={"norm": "linf"}, value=0.5, interval=Interval(0.4, 0.6, 0.95), n=3,
        cost=Cost(queries=3), evidence=("sha256:00",),
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(claim), type=Claim) == claim
    finding = Finding(
        rule="r", severity="low", confidence="high", title="t", message="m", location="l", evidence=(), remedy="do",
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding
    subject = Subject(kind="model", name="n", digest="sha256:00")
    assert msgspec.json.decode(msgspec.json.encode(subject), type=Subject) == subject
