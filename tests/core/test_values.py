"""The nouns: what identifies them, what survives being stored, what a selection keeps."""

import hashlib
import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelward.core.canonical import canonical, parse
from modelward.core.check import Settings, Subjects
from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.data import Box, Column, Dataset, Grouping
from modelward.core.evidence import Cost, Evidence, finite, to_json
from modelward.core.finding import SEVERITIES, severity_rank
from modelward.core.seeds import child_seed
from modelward.core.subject import Subject, named

EVIDENCE = Evidence(
    check="quality", version=1, parameters={"norm": "linf"}, n=3, seed=7, outcome={"right": [1, 0, 1]},
    unit="samples", cost=Cost(seconds=0.5, queries=3), subjects={"model": "sha256:00"},
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
costs = st.builds(
    Cost,
    seconds=st.floats(0, 1e6),
    forward=st.integers(0, 2**40),
    backward=st.integers(0, 2**40),
    queries=st.integers(0, 2**40),
    bounds=st.one_of(st.just(msgspec.UNSET), st.integers(1, 2**40)),
)


@pytest.mark.parametrize(
    "change",
    [
        {"check": "quality2"}, {"version": 2}, {"parameters": {"norm": "l2"}}, {"n": 4}, {"seed": 8},
        {"outcome": {"right": [1, 1, 0]}}, {"unit": "rows"}, {"cost": Cost(seconds=0.5, queries=4)},
        {"subjects": {"model": "sha256:01"}}, {"attachments": {"witnesses": "sha256:00"}}, {"cut": "queries"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_field_of_evidence_is_in_its_digest(change):
    assert set(change) <= set(Evidence.__struct_fields__)
    assert msgspec.structs.replace(EVIDENCE, **change).digest != EVIDENCE.digest


def test_the_digest_of_evidence_is_that_of_its_canonical_json():
    text = json.dumps(to_json(EVIDENCE), sort_keys=True, separators=(",", ":"))
    assert EVIDENCE.digest == hashlib.sha256(text.encode()).hexdigest()


def test_evidence_of_the_first_release_keeps_its_digest():
    """A store refers to evidence by its digest: a field that was added later may not change it."""
    assert EVIDENCE.digest == "d45ee0be0a3bd8dac864ce1226baecabc4a82286dd08a8d2c31e95f108560c4b"
    assert set(to_json(EVIDENCE)["cost"]) == {"seconds", "forward", "backward", "queries"}
    proved = msgspec.structs.replace(EVIDENCE, cost=Cost(seconds=0.5, queries=3, bounds=2))
    assert to_json(proved)["cost"]["bounds"] == 2
    assert proved.digest != EVIDENCE.digest


def test_costs_add_up_field_by_field():
    one, other = Cost(seconds=1.0, forward=1, backward=2, queries=3), Cost(forward=1, bounds=4)
    assert one + one == Cost(seconds=2.0, forward=2, backward=4, queries=6)
    assert one + other == other + one == Cost(seconds=1.0, forward=2, backward=2, queries=3, bounds=4)
    assert (one.passes, other.passes, (one + other).passes) == (3, 5, 8)


@given(costs, texts, st.lists(st.floats(0, 1), max_size=5))
def test_evidence_survives_the_ledger(cost, name, shares):
    item = msgspec.structs.replace(EVIDENCE, cost=cost, outcome={name: shares})
    back = msgspec.convert(parse(canonical(to_json(item))), Evidence)
    assert back == item
    assert back.digest == item.digest


@given(costs, costs, costs)
def test_costs_add_up_in_any_order(a, b, c):
    assert a + b == b + a
    assert a + Cost() == a
    whole, parts = (a + b) + c, a + (b + c)
    assert whole.seconds == pytest.approx(parts.seconds)
    assert msgspec.structs.replace(whole, seconds=0) == msgspec.structs.replace(parts, seconds=0)


@given(st.floats())
def test_a_number_is_finite_or_null_with_a_reason(value):
    written = finite(value, "overflow")
    canonical(written)
    if math.isfinite(value):
        assert written == {"value": value}
    else:
        assert written == {"value": None, "reason": "overflow"}


def test_a_claim_survives_the_ledger():
    claim = Claim(
        id="accuracy", statement="s", scope={"norm": "linf", "eps": 0.1}, value=0.5, status="unknown", n=2,
        bracket=Bracket(None, 0.5), interval=Interval(0.1, 0.9, 0.95), cost=Cost(), evidence=("e",),
    )  # fmt: skip
    assert msgspec.convert(parse(canonical(to_json(claim))), Claim) == claim


def test_severities_rise():
    assert [severity_rank(severity) for severity in SEVERITIES] == [0, 1, 2, 3, 4]
    assert (SEVERITIES[0], SEVERITIES[-1]) == ("info", "critical")


@given(st.integers(0, 2**53 - 1), texts)
def test_a_child_seed_is_the_first_53_bits_of_sha256(seed, label):
    bits = bin(int(hashlib.sha256(f"{seed}/{label}".encode()).hexdigest(), 16) | 1 << 256)[3:]
    assert child_seed(seed, label) == int(bits[:53], 2)


@given(st.text(st.characters(), max_size=20))
def test_any_name_fits_the_ledger(name):
    canonical(named(name))
    if not any("\ud800" <= char <= "\udfff" for char in name):
        assert named(name) == name


def test_names_that_differ_only_in_bytes_beyond_utf8_stay_apart():
    assert named("a\udcff") == "a\\udcff" != named("a\udcfe")


def box(lower, upper):
    return Box(
        lower=np.asarray(lower), upper=np.asarray(upper), scale=np.ones_like(lower), unit="box width",
        source="stated",
    )  # fmt: skip


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=2), elements=st.floats(-9, 9)))
def test_a_box_is_described_by_its_extremes(lower):
    described = box(lower, lower + 1.0).describe()
    assert described == {
        "lower": lower.min(), "upper": lower.max() + 1.0, "unit": "box width", "source": "stated",
    }  # fmt: skip
    canonical(dict(described))


@given(st.lists(st.integers(0, 5), max_size=12), st.booleans())
def test_a_selection_keeps_rows_together(index, labelled):
    x = np.arange(12.0).reshape(6, 2)
    data = Dataset(
        subject=Subject(kind="dataset", name="d", digest="sha256:0"), x=x,
        y=np.array([0, 1, 0, 1, 0, 1]) if labelled else None, labels=("a", "b"), rows=np.arange(6) * 10, total=60,
        columns=(Column(name="p", kind="real", lower=0, upper=10), Column(name="q", kind="real", lower=1, upper=11)),
        box=box([0.0, 1.0], [10.0, 11.0]),
        groupings=(Grouping(name="g", codes=np.array([2, 1, 0, 2, 1, 0]), levels=("u", "v", "w")),),
    )  # fmt: skip
    taken = data.take(np.array(index, dtype=np.int64))
    assert len(taken) == len(index)
    for at, source in enumerate(index):
        np.testing.assert_array_equal(taken.x[at], x[source])
        assert taken.rows[at] == 10 * source
        assert taken.groupings[0].codes[at] == data.groupings[0].codes[source]
        assert not labelled or taken.y[at] == source % 2
    assert (taken.y is None) == (not labelled)
    assert (taken.total, taken.columns, taken.labels, taken.box) == (60, data.columns, data.labels, data.box)
    assert len(data) == 6


def test_subjects_name_the_digest_of_each_role(tmp_path):
    subject = Subject(kind="artifact", name="f", digest="sha256:aa")
    subjects = Subjects(artifact=(tmp_path, subject), attachments=None)
    assert subjects.digests() == {"artifact": "sha256:aa"}


def test_every_choice_is_part_of_the_settings_that_are_recorded():
    written = to_json(Settings(norms=("l2",), eps=(0.5,), limit=9, preset="quick", confidence=0.9))
    assert written == {
        "norms": ("l2",), "eps": (0.5,), "limit": 9, "preset": "quick", "confidence": 0.9,
        "similarity": {"levenshtein": 0.8, "trigrams": 0.5, "cosine": 0.7},
    }  # fmt: skip
    assert msgspec.convert(parse(canonical(json.loads(json.dumps(written)))), Settings).limit == 9
