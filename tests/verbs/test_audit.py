"""The whole composition, on models whose right answers are known."""

import json
import pickle

import msgspec
import numpy as np
import pytest

import modelward
from modelward.core.policy import Policy, Threshold
from modelward.errors import (
    BudgetInvalid,
    ConfigInvalid,
    FileMissing,
    LedgerTampered,
    PolicyInvalid,
    PolicyRefused,
)
from modelward.ledger.store import Ledger, find_all
from modelward.verbs.report import render, verify_store
from modelward.verbs.store import recall
from modelward.verbs.witnesses import save_witnesses

EPS = 0.1


@pytest.fixture
def options(tmp_path):
    return modelward.AuditOptions(store=tmp_path / "store", bounds=(0, 1), norms=("linf",), eps=(EPS,))


@pytest.fixture
def result(linear, options):
    net, x, y, _ = linear
    return modelward.audit(net, (x, y), options)


def claim(result, kind, **scope):
    (found,) = [
        c for c in result.claims if c.id == kind and all(c.scope.get(k) == v for k, v in scope.items())
    ]
    return found


def test_the_bracket_closes_on_a_linear_model(result, linear):
    radius = linear[3]
    bracket = claim(result, "robust-accuracy").bracket
    # Points whose distance is within float rounding of eps may stay undecided.
    sure, lost = np.mean(radius > EPS * 1.001), np.mean(radius < EPS * 0.999)
    assert bracket.lower >= sure - 1e-9
    assert bracket.upper <= 1 - lost + 1e-9
    assert bracket.lower <= bracket.upper


def test_accuracy_of_a_perfect_model(result):
    found = claim(result, "accuracy")
    assert found.value == 1.0
    assert found.interval.lower > 0.9


def test_everything_is_accounted_for(result):
    looked = {o.check for o in result.checks} | {s.check for s in result.skipped}
    assert len(looked) == 9
    assert {s.check for s in result.skipped} == {"artifact.pickle", "leakage.membership", "bias.groups"}
    assert result.complete


def test_the_head_names_the_store(result, options):
    assert verify_store(options.store, result.ledger_head).root == result.ledger_head


def test_results_come_back_from_the_store(result, options):
    assert recall(options.store) == result
    assert modelward.report(options.store, result.run[:8]) == result
    with pytest.raises(ConfigInvalid, match="no run"):
        modelward.report(options.store, "ffff")


def test_a_second_run_repeats_nothing_and_says_the_same(result, linear, options):
    net, x, y, _ = linear
    again = modelward.audit(net, (x, y), options)
    assert all(o.resumed for o in again.checks)
    assert (again.claims, again.findings, again.run) == (result.claims, result.findings, result.run)
    records = list(Ledger.open_read_only(options.store).records())
    assert len(find_all(records, kind="decision")) == 2
    assert len(find_all(records, kind="run")) == 1


def test_the_same_seed_gives_the_same_evidence_in_another_store(result, linear, options, tmp_path):
    net, x, y, _ = linear
    other = modelward.audit(net, (x, y), msgspec.structs.replace(options, store=tmp_path / "other"))
    assert [[e.outcome for e in o.evidence] for o in other.checks] == [
        [e.outcome for e in o.evidence] for o in result.checks
    ]


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"eps": (0.2,)}, {"budget": "100q"}, {"limit": 10}, {"checks": ("quality",)}]
)
def test_what_matters_is_part_of_the_identity(result, linear, options, change):
    net, x, y, _ = linear
    assert modelward.audit(net, (x, y), msgspec.structs.replace(options, **change)).run != result.run


def test_the_policy_is_not_part_of_the_identity(result, linear, options):
    net, x, y, _ = linear
    policy = Policy(name="strict", require=(Threshold(claim="accuracy", at_least=0.999),))
    strict = modelward.audit(net, (x, y), msgspec.structs.replace(options, policy=policy))
    assert strict.run == result.run
    assert strict.verdict.outcome == "unknown"  # the interval reaches below 0.999
    with pytest.raises(PolicyRefused, match="strict"):
        strict.verdict.enforce()


def test_witnesses_are_wrong_within_the_ball(result, linear, options, tmp_path):
    torch = pytest.importorskip("torch")
    net, x, y, _ = linear
    count = save_witnesses(result, options.store, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as stored:
        found = dict(stored)
    assert count == len(found["index"]) > 0
    with torch.no_grad():
        answers = net(torch.from_numpy(found["x"].astype(np.float32))).argmax(1).numpy()
    np.testing.assert_array_equal(answers, found["prediction"])
    assert (answers != y[found["index"]]).all()
    assert np.abs(found["x"] - x[found["index"]]).max() <= EPS * (1 + 1e-6)
    assert found["x"].min() >= 0
    assert found["x"].max() <= 1


@pytest.mark.parametrize("form", ["text", "json", "sarif", "html"])
def test_every_format_names_head_and_verdict(result, form):
    content = render(result, form).decode()
    assert result.ledger_head[:8] in content
    if form != "sarif":
        assert result.verdict.outcome in content.lower()


def test_json_keeps_its_contract(result):
    content = json.loads(render(result, "json"))
    assert content["schema"] == "modelward.audit/1"
    assert set(content) >= {"ledger_head", "subjects", "claims", "findings", "skipped", "verdict"}
    assert set(content["claims"][0]) >= {
        "id", "statement", "scope", "value", "bracket", "interval", "basis", "status", "n", "cost", "evidence",
    }  # fmt: skip


def test_the_command_names_what_repeats_the_numbers(result):
    assert "--eps 0.1" in result.command
    assert "--seed 0" in result.command
    assert "<live model>" in result.command


def test_a_payload_fails_without_being_loaded(tmp_path, linear, options):
    canary = tmp_path / "canary"
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"cos\nsystem\n(V" + f"touch {canary}".encode() + b"\ntR.")
    _, x, y, _ = linear
    result = modelward.audit(path, (x, y), options)
    assert result.verdict.outcome == "fail"
    assert result.findings[0].severity == "critical"
    assert "os.system" in result.findings[0].message
    assert claim(result, "load-is-inert").bracket.upper == 0.0
    assert not canary.exists()


def test_a_model_alone_is_inspected_and_no_more(tmp_path, options):
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps({"a": [1, 2]}))
    result = modelward.audit(path, None, options)
    assert claim(result, "load-is-inert").bracket.lower == 1.0
    assert result.verdict.outcome == "unknown"  # the baseline asks for more than that
    assert {s.check for s in result.skipped} >= {"quality", "evasion.query"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"budget": "fast"}, BudgetInvalid),
        ({"seed": -1}, ConfigInvalid),
        ({"seed": 2**53}, ConfigInvalid),
        ({"limit": 0}, ConfigInvalid),
        ({"eps": (0.0,)}, ConfigInvalid),
        ({"eps": (float("nan"),)}, ConfigInvalid),
        ({"norms": ()}, ConfigInvalid),
        ({"checks": ("nonsense",)}, ConfigInvalid),
        ({"policy": Policy()}, PolicyInvalid),
        ({"train": "absent.npz"}, FileMissing),
    ],
)
def test_bad_options_leave_no_trace_in_the_store(linear, options, change, error):
    net, x, y, _ = linear
    with pytest.raises(error):
        modelward.audit(net, (x, y), msgspec.structs.replace(options, **change))
    if options.store.exists():
        assert verify_store(options.store).size == 0


def test_a_missing_model(tmp_path, options):
    with pytest.raises(FileMissing, match="no such file"):
        modelward.audit(tmp_path / "none.onnx", None, options)
    with pytest.raises(FileMissing, match="folder"):
        modelward.audit(tmp_path, None, options)
    with pytest.raises(ConfigInvalid, match="on data"):
        modelward.audit(lambda x: x, None, options)


def test_a_budget_of_queries_is_kept(linear, options):
    net, x, y, _ = linear
    result = modelward.audit(net, (x, y), msgspec.structs.replace(options, budget="300q,1000p"))
    assert sum(o.cost.queries for o in result.checks) <= 300
    assert sum(o.cost.forward + o.cost.backward for o in result.checks) <= 1000
    assert any(o.state == "cut" for o in result.checks)
    assert result.verdict.outcome != "pass"


def test_an_edited_result_is_refused(result, options):
    import sqlite3

    db = sqlite3.connect(options.store / "ledger.db")
    db.execute("UPDATE leaf SET body = cast(replace(cast(body AS TEXT), '\"fail\"', '\"pass\"') AS BLOB)")
    db.execute("UPDATE leaf SET body = cast(replace(cast(body AS TEXT), '\"seed\":', '\"sead\":') AS BLOB)")
    db.commit()
    db.close()
    with pytest.raises(LedgerTampered):
        modelward.report(options.store)
