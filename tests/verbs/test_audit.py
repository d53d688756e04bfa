from __future__ import annotations

import shlex
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest

import modelward
from modelward.core.policy import Policy, Threshold
from modelward.engine.outcome import CheckRun
from modelward.errors import (
    BudgetInvalid,
    ConfigInvalid,
    FileMissing,
    LedgerTampered,
    ModelHung,
    ModelNonFinite,
    ModelRaised,
    OutputUnwritable,
    PolicyInvalid,
    PolicyRefused,
    ShapeMismatch,
)
from modelward.ledger.store import Ledger, find_all
from modelward.verbs.audit import command_line, judge
from modelward.verbs.report import render, verify_store, write_report
from modelward.verbs.store import recall
from modelward.verbs.versions import versions
from modelward.verbs.witnesses import save_witnesses


@pytest.fixture
def audited(rule, points, options):
    return modelward.audit(rule, points, options(checks=("quality",)))


def numbers(result):
    return [(c.id, c.scope, c.value, c.bracket, c.interval, c.n) for c in result.claims]


def test_a_live_function_is_audited(rule, points, options):
    result = modelward.audit(rule, points, options())
    accuracy = next(c for c in result.claims if c.id == "accuracy")
    x, y = points
    assert accuracy.value == np.mean((x.sum(axis=1) > 0) == y)
    assert accuracy.n == 60
    assert {outcome.check for outcome in result.checks} == {"quality", "evasion.query"}
    assert result.complete
    model = next(subject for subject in result.subjects if subject.kind == "model")
    assert model.identity == "asserted"


def test_everything_not_selected_is_left_out_and_everything_selected_accounted_for(rule, points, options):
    result = modelward.audit(rule, points, options(checks=()))
    from modelward.core.catalogue import CHECKS

    ran = {outcome.check for outcome in result.checks}
    left = {skipped.check for skipped in result.skipped}
    assert ran | left == {entry.id for entry in CHECKS}
    assert not ran & left
    assert all(skipped.reason for skipped in result.skipped)


def test_the_second_audit_of_a_file_repeats_nothing(linear, points, options):
    first = modelward.audit(linear, points, options())
    second = modelward.audit(linear, points, options())
    assert second.run == first.run
    assert all(outcome.resumed for outcome in second.checks)
    assert [c.evidence for c in second.checks] == [c.evidence for c in first.checks]
    assert numbers(second) == numbers(first)


def test_a_live_object_is_always_asked_again(rule, points, options):
    first = modelward.audit(rule, points, options())
    asked = rule.asked
    rule.sign = -1.0  # the same name, another model
    second = modelward.audit(rule, points, options())
    assert rule.asked > asked + 60
    assert second.run == first.run
    assert not any(outcome.resumed for outcome in second.checks)
    found = [next(c.value for c in r.claims if c.id == "accuracy") for r in (first, second)]
    assert found[0] == 1 - found[1]


def test_fresh_asks_again_and_finds_the_same(rule, points, options):
    first = modelward.audit(rule, points, options())
    again = modelward.audit(rule, points, options(fresh=True))
    assert not any(outcome.resumed for outcome in again.checks)
    assert again.run == first.run
    assert numbers(again) == numbers(first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"limit": 6},
        {"eps": (0.2,)},
        {"norm": ("l2",)},
        {"budget": "9q"},
        {"bounds": (-9.0, 9.0)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_can_change_a_number_changes_the_identity(rule, points, options, change):
    first = modelward.audit(rule, points, options(checks=("quality",)))
    other = modelward.audit(rule, points, options(checks=("quality",), **change))
    assert other.run != first.run
    assert not any(outcome.resumed for outcome in other.checks)


def test_the_policy_is_no_part_of_the_identity(linear, points, options):
    strict = Policy(name="strict", require=(Threshold(claim="accuracy", at_most=0.1),))
    mild = Policy(name="mild", required_checks=("quality",))
    first = modelward.audit(linear, points, options(checks=("quality",), policy=strict))
    second = modelward.audit(linear, points, options(checks=("quality",), policy=mild))
    assert (first.verdict.outcome, second.verdict.outcome) == ("fail", "pass")
    assert second.run == first.run
    assert second.checks[0].resumed
    second.verdict.enforce()
    with pytest.raises(PolicyRefused, match=r"policy 'strict': .*accuracy at most 0\.1"):
        first.verdict.enforce()


def test_a_required_check_that_was_not_looked_at_is_unknown(rule, points, options):
    policy = Policy(name="wants proof", required_checks=("evasion.certified",))
    result = modelward.audit(rule, points, options(checks=(), policy=policy, limit=2))
    assert result.verdict.outcome == "unknown"


def test_a_dataset_may_be_read_once_and_used_twice(rule, points, options):
    from modelward.adapters.data import from_arrays
    from modelward.adapters.data.options import DataOptions

    data = from_arrays(*points, name="mine", options=DataOptions())
    result = modelward.audit(rule, data, options(checks=("quality",)))
    assert "mine" in {subject.name for subject in result.subjects}


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        (lambda x: 1 / 0, ModelRaised, "ZeroDivisionError"),
        (lambda x: np.full((len(x), 2), np.nan), ModelNonFinite, "NaN or an infinity"),
        (lambda x: np.ones((3, 2)), ShapeMismatch, "shape \\(3, 2\\) to 16 samples"),
    ],
)
def test_a_model_that_fails_on_unmodified_rows(points, options, model, error, sentence):
    with pytest.raises(error, match=sentence):
        modelward.audit(model, points, options())


def test_a_model_that_hangs_is_given_up_after_the_budget(points, options):
    import threading

    never = threading.Event()
    with pytest.raises(ModelHung, match=r"within 0\.2 s"):
        modelward.audit(lambda x: never.wait(30), points, options(budget="0.2s"))
    never.set()


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"seed": -1}, (ConfigInvalid, "seed -1")),
        ({"seed": 2**53}, (ConfigInvalid, "2\\*\\*53")),
        ({"limit": 0}, (ConfigInvalid, "at least 1")),
        ({"limit": 10**23}, (ConfigInvalid, "below 2\\*\\*53")),
        ({"norm": ("l0",), "eps": (0.5,)}, (ConfigInvalid, "whole number")),
        ({"norm": ("patch",), "eps": (1.5,)}, (ConfigInvalid, "share of the image")),
        ({"policy": Policy(required_checks=("evasoin",))}, (ConfigInvalid, "did you mean 'evasion'")),
        ({"eps": (0.0,)}, (ConfigInvalid, "above 0")),
        ({"eps": (float("inf"),)}, (ConfigInvalid, "finite")),
        ({"norm": ()}, (ConfigInvalid, "norm")),
        ({"budget": "soon"}, (BudgetInvalid, "'soon'")),
        ({"checks": ("evasoin",)}, (ConfigInvalid, "did you mean 'evasion'")),
        ({"policy": Policy()}, (PolicyInvalid, "accept every model")),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(rule, points, options, change, refusal):
    stated = options(**change)
    with pytest.raises(refusal[0], match=refusal[1]):
        modelward.audit(rule, points, stated)
    assert rule.asked == 0
    assert not stated.store.exists()


def test_a_live_model_needs_data(rule, options):
    with pytest.raises(ConfigInvalid, match="only be examined on data"):
        modelward.audit(rule, None, options())


def test_a_path_must_be_a_file(tmp_path, points, options):
    with pytest.raises(FileMissing, match="no such file"):
        modelward.audit(tmp_path / "nowhere.onnx", points, options())
    with pytest.raises(FileMissing, match="is a folder"):
        modelward.audit(tmp_path, points, options())


def test_the_command_repeats_the_audit(options):
    words = shlex.split(
        command_line(
            "my model.onnx",
            "test.npz",
            options(train="tr.npz", sensitive=("a", "b"), preset="quick", budget="9q", seed=4),
        )
    )
    assert words[:5] == ["modelward", "audit", "my model.onnx", "--data", "test.npz"]
    pairs = dict(zip(words[5::2], words[6::2], strict=True))
    assert pairs == {
        "--train": "tr.npz", "--sensitive": "a,b", "--checks": "quality,evasion.query", "--norm": "linf",
        "--eps": "0.1", "--preset": "quick", "--limit": "5", "--budget": "9q", "--seed": "4",
    }  # fmt: skip


def test_live_objects_stand_as_placeholders(rule, points, options):
    command = command_line(rule, points, options(train=points))
    assert command.count("<live data>") == 2
    assert "<live model>" in command


def test_findings_are_sorted_and_claims_rest_on_recorded_evidence(rule, points, options):
    result = modelward.audit(rule, points, options(eps=(0.9,), limit=20))
    recorded = {item.digest for outcome in result.checks for item in outcome.evidence}
    assert all(set(claim.evidence) <= recorded for claim in result.claims)
    assert all(set(finding.evidence) <= recorded for finding in result.findings)
    order = ["critical", "high", "medium", "low", "info"]
    severities = [order.index(finding.severity) for finding in result.findings]
    assert severities == sorted(severities)


def test_claims_can_be_derived_again_from_what_was_recorded(rule, points, options):
    result = modelward.audit(rule, points, options())
    claims, findings = judge(result.checks)
    unjudged = tuple(msgspec.structs.replace(claim, status=None) for claim in result.claims)
    assert claims == unjudged
    assert findings == result.findings
    assert judge([]) == ((), ())
    empty = CheckRun(check="quality", summary="", state="failed", cost=result.checks[0].cost, evidence=())
    assert judge([empty]) == ((), ())


def test_the_stored_result_is_the_returned_one(rule, points, options):
    stated = options()
    result = modelward.audit(rule, points, stated)
    stored = modelward.report(stated.store)
    assert numbers(stored) == numbers(result)
    assert stored.ledger_head == result.ledger_head == verify_store(stated.store).root
    assert stored.verdict == result.verdict
    assert [c.evidence for c in stored.checks] == [c.evidence for c in result.checks]


def test_a_run_is_found_by_its_beginning(rule, points, options):
    first = modelward.audit(rule, points, options(checks=("quality",)))
    last = modelward.audit(rule, points, options(checks=("quality",), seed=9))
    store = options().store
    assert recall(store).run == last.run
    assert recall(store, first.run[:12]).run == first.run
    with pytest.raises(ConfigInvalid, match="no run in"):
        recall(store, "zz")


def test_a_store_without_a_result_says_so(tmp_path):
    with pytest.raises(FileMissing, match="there is no ledger"):
        recall(tmp_path)
    Ledger.open(tmp_path).close()
    with pytest.raises(FileMissing, match="holds no result"):
        recall(tmp_path)


def test_a_result_whose_evidence_is_gone_is_refused(tmp_path, rule, points, options):
    stated = options()
    modelward.audit(rule, points, stated)
    source = Ledger.open_read_only(stated.store)
    kept = [record for record in source.records() if record["kind"] != "evidence"]
    source.close()
    forged = Ledger.open(tmp_path / "forged")
    forged.append(*kept)
    forged.close()
    with pytest.raises(LedgerTampered, match="does not fit its evidence"):
        recall(tmp_path / "forged")


def test_witnesses_are_what_the_evidence_counts(tmp_path, rule, points, options):
    stated = options(eps=(0.9,), limit=20)
    result = modelward.audit(rule, points, stated)
    path = tmp_path / "w.npz"
    count = save_witnesses(result, stated.store, path)
    found = np.load(path)
    assert count == len(found["index"]) > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    answers = rule(found["x"]).argmax(axis=1)
    assert np.array_equal(answers, found["prediction"])
    assert np.all(answers != points[1][found["index"]])


def test_no_witness_is_an_empty_file(tmp_path, rule, points, options):
    stated = options(checks=("quality",))
    result = modelward.audit(rule, points, stated)
    assert save_witnesses(result, stated.store, tmp_path / "w.npz") == 0
    assert len(np.load(tmp_path / "w.npz")["index"]) == 0
    with pytest.raises(OutputUnwritable, match="the witnesses cannot be written"):
        save_witnesses(result, stated.store, tmp_path / "nowhere" / "w.npz")


@pytest.mark.parametrize(
    ("form", "beginning"), [("text", ""), ("json", "{"), ("sarif", "{"), ("html", "<!doctype html>")]
)
def test_every_format_renders(tmp_path, audited, form, beginning):
    content = render(audited, form)
    assert content.decode().lower().startswith(beginning)
    write_report(tmp_path / "report", content)
    assert (tmp_path / "report").read_bytes() == content
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        write_report(tmp_path / "nowhere" / "report", content)


def test_a_run_starts_with_one_record(rule, points, options):
    modelward.audit(rule, points, options(checks=("quality",)))
    ledger = Ledger.open_read_only(options().store)
    records = list(ledger.records())
    ledger.close()
    assert [record["kind"] for record in records] == ["run", "evidence", "check", "decision"]
    identity = find_all(records, kind="run")[0]["identity"]
    assert set(identity) == {
        "subjects", "columns", "checks", "settings", "options", "budget", "seed", "versions",
    }  # fmt: skip
    assert identity["versions"] == versions()


def test_versions_name_what_numbers_depend_on():
    assert {"python", "platform", "numpy", "onnxruntime"} <= set(versions())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": "policy.toml"}, "policy is no Policy"),
        ({"budget": 60}, "budget"),
        ({"limit": "20"}, "limit"),
        ({"norm": "l3"}, "l3"),
        ({"eps": "wide"}, "eps"),
        ({"bounds": 3}, "bounds"),
        ({"store": 3}, "store|Path|path"),
    ],
)
def test_options_of_the_wrong_type_are_one_sentence(linear, points, options, change, words):
    with pytest.raises(ConfigInvalid, match=words):
        modelward.audit(linear, points, options(**change))


def test_single_values_may_stand_for_themselves():
    from modelward.verbs.options import settled

    plain = settled(modelward.AuditOptions(eps=0.1, checks="quality", norm="l2", store="elsewhere"))
    assert (plain.eps, plain.checks, plain.norm) == ((0.1,), ("quality",), ("l2",))
    assert plain.store == Path("elsewhere")


def test_whoever_watches_hears_what_is_opened(linear, points, options):
    from modelward.verbs.quiet import Quiet

    class Listener:
        def __init__(self):
            self.heard = []
            quiet = Quiet()
            self.started, self.ended = quiet.started, quiet.ended
            self.progress, self.noted = quiet.progress, quiet.noted

        def opening(self, what):
            self.heard.append(what)

    listener = Listener()
    modelward.audit(linear, points, options(train=points), observer=listener)
    assert listener.heard == ["data", "train", "model"]
