"""Every recorded outcome has one meaning."""

import itertools

import pytest

from modelward.threats.robustness.judge import judge_inputs, verdict

ANSWERS = ("crashed", "hung", "raised", "finite", "non-finite")
FAMILIES = ("missing", "infinite", "extreme", "shape", "type", "size")


def probed(answer, *, family="extreme", valid=True, shape=(2, 3), numbers=4, case="odd"):
    kind = answer if answer in {"crashed", "hung", "raised"} else "answered"
    return {
        "case": case,
        "family": family,
        "valid": valid,
        "shape": list(shape),
        "dtype": "<f8",
        "answer": kind,
        "detail": "",
        "finite": {"finite": True, "non-finite": False}.get(answer),
        "numbers": numbers,
    }


@pytest.fixture
def judged(lab):
    def judge(*probes, by_design=False, cut=None):
        parameters = {"seconds": 10.0, "rows": 2, "missing by design": by_design}
        outcome = {"planned": 30, "probes": list(probes)}
        return judge_inputs(
            [lab.evidence("robustness.inputs", outcome, n=len(probes), parameters=parameters, cut=cut)]
        )

    return judge


class TestVerdict:
    @pytest.mark.parametrize(("family", "valid"), list(itertools.product(FAMILIES, [True, False])))
    def test_what_does_not_depend_on_the_input(self, family, valid):
        common = {"family": family, "valid": valid}
        assert verdict(probed("crashed", **common), missing_by_design=False) == "crash"
        assert verdict(probed("raised", **common), missing_by_design=False) == "refused"
        assert verdict(probed("non-finite", **common), missing_by_design=True) == "non-finite"
        assert verdict(probed("hung", **common), missing_by_design=False) == (
            "slow" if family == "size" else "hang"
        )

    @pytest.mark.parametrize("family", FAMILIES)
    def test_an_answer_is_fine_for_valid_inputs_only(self, family):
        assert verdict(probed("finite", family=family, valid=True), missing_by_design=False) == "answered"
        assert verdict(probed("finite", family=family, valid=False), missing_by_design=False) == "silent"

    @pytest.mark.parametrize("family", FAMILIES)
    def test_design_excuses_missing_values_only(self, family):
        expected = "by design" if family == "missing" else "silent"
        assert verdict(probed("finite", family=family, valid=False), missing_by_design=True) == expected

    def test_no_rows_must_give_no_numbers(self):
        empty = {"family": "size", "shape": (0, 3)}
        assert verdict(probed("finite", numbers=0, **empty), missing_by_design=False) == "answered"
        assert verdict(probed("finite", numbers=2, **empty), missing_by_design=False) == "silent"
        assert verdict(probed("hung", **empty), missing_by_design=False) == "hang"
        assert verdict(probed("raised", **empty), missing_by_design=False) == "refused"

    def test_a_number_without_axes_is_judged_like_a_shape(self):
        assert (
            verdict(probed("finite", family="shape", valid=False, shape=()), missing_by_design=False)
            == "silent"
        )


class TestClaim:
    def test_share_of_faults(self, judged):
        claim = judged(probed("crashed"), probed("finite"), probed("raised"), probed("non-finite")).claims[0]
        assert claim.value == 0.5
        assert claim.n == 4
        assert claim.statement == "2 of 4 unusual inputs were neither refused nor answered soundly."

    def test_notes_name_what_is_no_fault(self, judged):
        note = (
            judged(
                probed("finite", family="missing", valid=False, case="NaN everywhere"),
                probed("hung", family="size", shape=(9, 3), case="9 rows"),
                by_design=True,
                cut="queries",
            )
            .claims[0]
            .note
        )
        assert "by design: NaN everywhere." in note
        assert "Not answered within 10 s: 9 rows." in note
        assert "Cut short by queries: the first 2 were sent." in note


class TestFindings:
    @pytest.mark.parametrize(
        ("answer", "family", "rule", "severity"),
        [
            ("crashed", "missing", "crash", "critical"),
            ("crashed", "infinite", "crash", "critical"),
            ("crashed", "extreme", "crash", "critical"),
            ("crashed", "shape", "crash", "high"),
            ("crashed", "type", "crash", "high"),
            ("crashed", "size", "crash", "high"),
            ("hung", "extreme", "hang", "high"),
            ("non-finite", "extreme", "non-finite", "medium"),
            ("finite", "missing", "silent", "medium"),
            ("finite", "infinite", "silent", "medium"),
            ("finite", "shape", "silent", "low"),
            ("finite", "type", "silent", "low"),
        ],
    )
    def test_severity_by_kind_and_family(self, judged, answer, family, rule, severity):
        judgement = judged(probed(answer, family=family, valid=False, case="this one"), probed("raised"))
        assert [(f.rule, f.severity) for f in judgement.findings] == [(f"robustness.{rule}", severity)]
        finding = judgement.findings[0]
        assert "this one" in finding.message
        assert finding.location.startswith("inputs: ")
        assert "1 of 2 unusual inputs" in finding.message
        assert bool(finding.techniques) == (rule in {"crash", "hang"})

    def test_one_finding_per_kind_lists_all_cases(self, judged):
        judgement = judged(*(probed("non-finite", case=f"case {i}") for i in range(3)), probed("crashed"))
        assert [f.rule for f in judgement.findings] == ["robustness.crash", "robustness.non-finite"]
        assert "case 0; case 1; case 2" in judgement.findings[1].message
