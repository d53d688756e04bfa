import json

import numpy as np
import pytest

from modelward.core.budget import Budget
from modelward.core.check import Settings
from modelward.core.model import ProbeAnswer
from modelward.errors import ModelHung, ModelNonFinite, ModelRaised
from modelward.threats.robustness import cases as cases_module
from modelward.threats.robustness.cases import cases
from modelward.threats.robustness.inputs import InputsCheck
from modelward.threats.robustness.judge import judge_inputs

WIDTH = 3


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(cases_module, "HUGE_ROWS", 1000)


def careful(x):
    """Refuses everything that is not a finite, moderate (n, WIDTH) table of real numbers."""
    if x.dtype.kind not in "fiub" or x.ndim != 2 or x.shape[1] != WIDTH:
        return ProbeAnswer(kind="raised", detail="ValueError: not a table of numbers")
    if not np.isfinite(x.astype(np.float64)).all():
        return ProbeAnswer(kind="raised", detail="ValueError: not finite")
    return ProbeAnswer(kind="answered", scores=[0.5] * min(64, 2 * len(x)), finite=True)


def careless(x):
    """Answers everything, with the sum of what it gets."""
    if x.dtype.kind not in "fiub":
        return ProbeAnswer(kind="answered", scores=[0.5], finite=True)
    finite = bool(np.isfinite(x.astype(np.float64)).all())
    return ProbeAnswer(kind="answered", scores=[0.5 if finite else None] * min(64, x.size), finite=finite)


def except_for(unusual, answer):
    return lambda x: answer if unusual(x) else careful(x)


def is_nan(x):
    return x.dtype.kind == "f" and bool(np.isnan(x).any())


@pytest.fixture
def ask(lab):
    def ask_model(react, *, missing=False, budget=None, x=None):
        x = np.arange(30.0).reshape(10, WIDTH) if x is None else x
        model = lab.probed(lambda x: lab.two(np.zeros(len(x))), react, missing=missing)
        found = lab.run(InputsCheck, lab.subjects(model, lab.data(x)), budget=budget)
        return model, found, judge_inputs(found)

    return ask_model


class TestKnownModels:
    def test_a_careful_model_has_no_fault(self, ask):
        model, found, judgement = ask(careful)
        claim = judgement.claims[0]
        assert claim.value == 0.0
        assert claim.interval is None
        assert claim.n == found[0].n == found[0].outcome["planned"] == len(model.sent) - 1
        assert claim.better == "lower"
        assert not judgement.findings
        assert found[0].cost.queries == model.asked

    def test_a_careless_model_fails_by_kind(self, ask):
        _, found, judgement = ask(careless)
        assert {f.rule: f.severity for f in judgement.findings} == {
            "robustness.non-finite": "medium",
            "robustness.silent": "low",
        }
        # NaN and infinities, one feature or all (6); of shapes and types all that must be refused (5 + 3).
        assert judgement.claims[0].value == pytest.approx(14 / found[0].n)

    def test_nan_that_crashes_is_critical(self, ask):
        judgement = ask(except_for(is_nan, ProbeAnswer(kind="crashed", detail="signal 11")))[2]
        finding = judgement.findings[0]
        assert (finding.rule, finding.severity) == ("robustness.crash", "critical")
        assert finding.message.endswith(": NaN in one feature; NaN everywhere.")
        assert finding.location == "inputs: missing"
        assert "AML.T0029" in finding.techniques
        assert judgement.claims[0].value == pytest.approx(2 / judgement.claims[0].n)

    def test_text_that_crashes_is_high(self, ask):
        crash = ProbeAnswer(kind="crashed", detail="signal 11")
        judgement = ask(except_for(lambda x: x.dtype.kind == "U", crash))[2]
        assert [(f.rule, f.severity) for f in judgement.findings] == [("robustness.crash", "high")]

    def test_nan_that_hangs_is_high(self, ask):
        judgement = ask(except_for(is_nan, ProbeAnswer(kind="hung")))[2]
        assert [(f.rule, f.severity) for f in judgement.findings] == [("robustness.hang", "high")]
        assert "within 10 s" in judgement.findings[0].message

    def test_nan_answered_as_if_valid_is_silent(self, ask):
        fine = ProbeAnswer(kind="answered", scores=[0.5, 0.5], finite=True)
        judgement = ask(except_for(is_nan, fine))[2]
        assert [(f.rule, f.severity) for f in judgement.findings] == [("robustness.silent", "medium")]

    def test_large_values_answered_with_infinity_are_a_fault_but_finite_answers_are_not(self, ask):
        def big(x):
            return (
                x.dtype.kind == "f" and x.size > 0 and bool(np.isfinite(x).all()) and np.abs(x).max() > 1e300
            )

        judgement = ask(except_for(big, ProbeAnswer(kind="answered", scores=[None], finite=False)))[2]
        assert judgement.findings[0].rule == "robustness.non-finite"
        assert "largest float everywhere; most negative float everywhere." in judgement.findings[0].message

    def test_scores_for_no_rows_are_silent(self, ask):
        ghost = ProbeAnswer(kind="answered", scores=[0.5, 0.5], finite=True)
        judgement = ask(except_for(lambda x: x.ndim == 2 and len(x) == 0, ghost))[2]
        assert [(f.rule, f.location) for f in judgement.findings] == [("robustness.silent", "inputs: size")]

    def test_a_huge_batch_that_takes_too_long_is_a_note(self, ask):
        judgement = ask(except_for(lambda x: x.ndim == 2 and len(x) == 1000, ProbeAnswer(kind="hung")))[2]
        assert not judgement.findings
        assert "Not answered within 10 s: 1000 rows" in judgement.claims[0].note

    def test_an_empty_batch_that_hangs_is_a_fault(self, ask):
        judgement = ask(except_for(lambda x: x.ndim == 2 and len(x) == 0, ProbeAnswer(kind="hung")))[2]
        assert [f.rule for f in judgement.findings] == ["robustness.hang"]


class TestMissingByDesign:
    def test_a_model_that_says_so_may_take_nan(self, ask):
        fine = ProbeAnswer(kind="answered", scores=[0.5], finite=True)
        judgement = ask(except_for(is_nan, fine), missing=True)[2]
        assert not judgement.findings
        assert judgement.claims[0].value == 0.0
        assert "by design: NaN in one feature; NaN everywhere" in judgement.claims[0].note

    def test_not_even_they_may_answer_nan(self, ask):
        judgement = ask(
            except_for(is_nan, ProbeAnswer(kind="answered", scores=[None], finite=False)), missing=True
        )[2]
        assert [f.rule for f in judgement.findings] == ["robustness.non-finite"]

    def test_data_with_gaps_needs_a_model_that_takes_them(self, ask):
        x = np.arange(30.0).reshape(10, WIDTH)
        x[:, 1] = np.nan
        fine = ProbeAnswer(kind="answered", scores=[0.5], finite=True)
        judgement = ask(except_for(is_nan, fine), x=x)[2]
        assert not [f for f in judgement.findings if "NaN in" in f.message]


class TestBaseline:
    @pytest.mark.parametrize(
        ("answer", "error", "match"),
        [
            (ProbeAnswer(kind="raised", detail="TypeError: no"), ModelRaised, "raised on unmodified rows"),
            (ProbeAnswer(kind="crashed", detail="signal 9"), ModelRaised, "crashed on unmodified rows"),
            (ProbeAnswer(kind="hung"), ModelHung, "within 10 s"),
            (ProbeAnswer(kind="answered", scores=[None], finite=False), ModelNonFinite, "NaN"),
        ],
    )
    def test_a_model_that_fails_on_unmodified_rows_is_refused(self, ask, answer, error, match):
        with pytest.raises(error, match=match):
            ask(lambda x: answer)

    def test_comes_first_and_is_unmodified(self, ask):
        x = np.arange(30.0).reshape(10, WIDTH)
        model, _, _ = ask(careful, x=x)
        assert model.sent[0].shape == (2, WIDTH)
        assert all(row.tolist() in x.tolist() for row in model.sent[0])

    def test_a_model_without_probe_is_declined(self, lab):
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), lab.data(np.zeros((4, 2))))
        assert "no probe" in InputsCheck(Settings()).declines(subjects)


class TestBudget:
    @pytest.mark.parametrize(("queries", "n"), [(1, 0), (2, 0), (4, 1), (11, 4)])
    def test_first_cases_only(self, ask, queries, n):
        model, found, judgement = ask(careful, budget=Budget(queries=queries))
        assert model.asked <= queries
        assert [item.n for item in found] == ([n] if n else [])
        assert [item.cut for item in found] == (["queries"] if n else [])
        assert len(judgement.claims) == bool(n)
        if n:
            assert f"the first {n} were sent" in judgement.claims[0].note

    def test_everything_but_the_huge_batch_is_cheap(self, ask):
        model, found, _ = ask(careful, budget=Budget(queries=100))
        assert found[0].outcome["planned"] - found[0].n == 1
        assert model.asked < 100


class TestEvidence:
    @pytest.mark.parametrize(
        ("detail", "kept"),
        [
            ("ValueError: <obj at 0x7f3aBC12> is odd", "ValueError: <obj at 0x…> is odd"),
            ("shapes (2x31 and 30x8)", "shapes (2x31 and 30x8)"),
            ("in /usr/lib/python3/site.py: no", "in /…: no"),
            ("expected n/a or 1/2", "expected n/a or 1/2"),
            ("Got 1D array instead:\narray=[52.3 17.1]", "Got 1D array instead:"),
            ("half \ud800 a pair", "half ? a pair"),
            ("x" * 500, "x" * 200),
            ("", ""),
        ],
    )
    def test_details_hold_no_rows_paths_or_addresses(self, ask, detail, kept):
        _, found, _ = ask(except_for(is_nan, ProbeAnswer(kind="raised", detail=detail)))
        assert found[0].outcome["probes"][0]["detail"] == kept

    def test_warnings_of_a_live_model_are_its_own(self, ask):
        def warn(x):
            np.float32(np.float64(1e300))  # overflow encountered in cast
            return careful(x)

        assert not ask(warn)[2].findings

    def test_says_what_was_sent(self, ask):
        _, found, _ = ask(careful)
        by_name = {probe["case"]: probe for probe in found[0].outcome["probes"]}
        assert by_name["one feature too many"]["shape"] == [2, WIDTH + 1]
        assert by_name["one axis too many"]["shape"] == [2, 1, WIDTH]
        assert by_name["rows joined into one vector"]["shape"] == [2 * WIDTH]
        assert by_name["a single number"]["shape"] == []
        assert by_name["no rows"]["shape"] == [0, WIDTH]
        assert by_name["1000 rows"]["shape"] == [1000, WIDTH]
        assert by_name["words"]["dtype"] == "<U4"
        assert by_name["complex numbers"]["dtype"] == "<c16"
        json.dumps(found[0].outcome)


class TestCases:
    @pytest.mark.parametrize(
        "x",
        [
            np.linspace(0, 1, 12).reshape(2, 6),
            np.linspace(0, 1, 2 * 28 * 28).reshape(2, 1, 28, 28).astype(np.float32),
            np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
            np.array([[1], [2]], np.int64),
        ],
        ids=["table", "image", "bytes", "one-integer"],
    )
    def test_each_is_what_it_says_and_leaves_the_rows_alone(self, lab, x):
        before, box = x.copy(), lab.data(x).box
        made = {case.name: (case, case.make()) for case in cases(x, box, feature=0)}
        assert np.array_equal(x, before)
        assert len(made) >= 20
        one = made["NaN in one feature"][1]
        assert np.isnan(one.reshape(len(x), -1)).sum() == len(x)
        assert np.isnan(made["NaN everywhere"][1]).all()
        assert np.isneginf(made["-infinity everywhere"][1]).all()
        above = made["ten box widths above the box"][1].astype(float)
        assert (above > np.broadcast_to(box.upper, x.shape)).all() or (box.upper == box.lower).any()
        assert made["words"][1].dtype.kind == "U"
        assert made["booleans"][1].dtype == bool
        assert ("samples flattened" in made) == (x.ndim > 2)
        for case, value in made.values():
            assert case.rows == (value.shape[0] if value.ndim else 1)

    def test_the_huge_batch_is_bounded_in_bytes(self, monkeypatch, lab):
        monkeypatch.setattr(cases_module, "HUGE_BYTES", 10_000)
        x = np.zeros((2, 100))
        case = list(cases(x, lab.data(x).box, feature=0))[-1]
        assert case.rows == 12
        assert case.make().nbytes <= 10_000
