"""The check as a whole: shifts that are known, budgets, subjects it declines, and what the judge says."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.core.evidence import Cost, Evidence
from modelward.core.subject import Subject
from modelward.threats.evasion.profiles.check import ProfilesCheck
from modelward.threats.evasion.profiles.judge import judge_recommender_shift

WHO = Subject(kind="model", name="rec:build", digest="sha256:" + 64 * "1", format="recommender")


class Means:
    """Scores an item by the mean of its ratings, for everybody."""

    fits = 0

    def fit(self, users, items, ratings):
        type(self).fits += 1
        counts = np.bincount(items, minlength=items.max() + 1)
        self.means = np.bincount(items, ratings, len(counts)) / counts

    def predict(self, users):
        return np.tile(self.means, (len(users), 1))


class Constant:
    """Never learns."""

    def fit(self, users, items, ratings):
        self.items = items.max() + 1

    def predict(self, users):
        return np.tile(np.arange(float(self.items)), (len(users), 1))


def run(recommender, ratings, *, preset="quick", budget=None, seed=3):
    subjects = Subjects(recommender=(WHO, recommender, ratings), attachments=None)
    check = ProfilesCheck(Settings(preset=preset))
    assert check.declines(subjects) is None
    return list(check.run(subjects, budget=Meter(budget or Budget()), seed=seed))


def test_the_shift_of_a_mean_is_known(table, as_ratings):
    """m best ratings beside n with the sum s move a mean to (s + 5 m) / (n + m), whatever else is rated."""
    for item in run(Means(), as_ratings(table)):
        extreme = 5 if item.parameters["goal"] == "push" else 1
        m = item.parameters["invented"]
        assert m == 1
        for name, shift in zip(item.outcome["targets"], item.outcome["shift"], strict=True):
            votes = table[:, int(name[1:])]
            votes = votes[~np.isnan(votes)]
            assert shift == pytest.approx((votes.sum() + extreme * m) / (len(votes) + m) - votes.mean())
        assert item.outcome["noise"] == 0


def test_what_never_learns_is_never_moved(table, as_ratings):
    evidence = run(Constant(), as_ratings(table))
    assert {shift for item in evidence for shift in item.outcome["shift"]} == {0.0}
    assert all(item.outcome["before"] == item.outcome["after"] for item in evidence)
    judgement = judge_recommender_shift(evidence)
    assert [claim.value for claim in judgement.claims] == [0.0, 0.0]
    assert judgement.findings == ()


def test_every_goal_strategy_and_number_once(table, as_ratings):
    evidence = run(Means(), as_ratings(table), preset="standard")
    keys = [tuple(item.parameters[k] for k in ("share", "goal", "strategy")) for item in evidence]
    assert len(keys) == len(set(keys)) == 2 * 2 * 4
    assert {item.n for item in evidence} == {10}
    assert len({tuple(item.outcome["targets"]) for item in evidence}) == 1
    assert {item.parameters["invented"] for item in evidence} == {1, 2}


def test_cost_is_what_was_asked(table, as_ratings):
    Means.fits = 0
    evidence = run(Means(), as_ratings(table))
    assert Means.fits == 2 + 8 * 5
    assert sum(item.cost.queries for item in evidence) == Means.fits * len(table)


@pytest.mark.parametrize("queries", [1, 79, 80, 120, 500])
def test_a_budget_is_kept_and_what_was_measured_is_told(table, as_ratings, queries):
    whole = run(Means(), as_ratings(table))
    evidence = run(Means(), as_ratings(table), budget=Budget(queries=queries))
    assert sum(item.cost.queries for item in evidence) <= queries
    if queries < 80:
        assert evidence == []
        return
    assert evidence[-1].cut == "queries"
    for item, same in zip(evidence, whole, strict=False):
        assert item.outcome["shift"] == same.outcome["shift"][: item.n]
    for claim in judge_recommender_shift(evidence).claims:
        assert "cut short" in claim.note or claim.n == 5


def test_seeds_fix_everything(table, as_ratings):
    outcomes = [[item.outcome for item in run(Means(), as_ratings(table), seed=seed)] for seed in (1, 1, 2)]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_what_cannot_be_measured_is_declined(table, as_ratings):
    def reason(changed):
        subjects = Subjects(recommender=(WHO, Means(), as_ratings(changed)), attachments=None)
        return ProfilesCheck(Settings()).declines(subjects)

    assert "2 users" in reason(table[:2])
    assert "2 items" in reason(table[:, :2])
    assert "are the same" in reason(np.where(np.isnan(table), np.nan, 4.0))
    assert "rated by every user" in reason(np.where(np.isnan(table), 2.0, table))
    wide = as_ratings(table)
    names = tuple(str(i) for i in range(60_000))
    subjects = Subjects(
        recommender=(WHO, Means(), type(wide)(
            subject=wide.subject, users=wide.users, items=wide.items, values=wide.values,
            user_names=names, item_names=names,
        )),
        attachments=None,
    )  # fmt: skip
    assert "too large" in ProfilesCheck(Settings()).declines(subjects)


def evidence(strategy="average", goal="push", share=0.03, **outcome):
    found = {
        "shift": [0.8, 0.4],
        "before": [0.0, 0.1],
        "after": [0.6, 0.5],
        "rdma": [0.95, 0.97],
        "degsim": [0.5, 0.5],
    }
    return Evidence(
        check="evasion.profiles",
        version=1,
        parameters={
            "goal": goal, "strategy": strategy, "share": share, "invented": 12, "filler": 20, "top": 10,
            "confidence": 0.95, "scale": [1.0, 5.0],
        },
        n=len((found | outcome)["shift"]),
        seed=0,
        outcome={"targets": ["a", "b"], "noise": 0.02} | found | outcome,
        unit="ratings",
        cost=Cost(queries=10),
        subjects={},
    )  # fmt: skip


def test_a_claim_is_about_the_strategy_that_moved_most():
    items = [
        evidence("random", shift=[0.1, 0.1], after=[0.9, 0.9]),
        evidence("average"),
        evidence("optimised", shift=[0.2, 0.4]),
    ]
    (claim,) = judge_recommender_shift(items).claims
    assert claim.value == pytest.approx(0.15)  # 0.6 of 4 points of the scale
    assert claim.interval.lower == pytest.approx(0.1)
    assert claim.interval.upper == pytest.approx(0.2)
    assert "12 invented users, 0.03 for each real one" in claim.statement
    assert "up by 15.0% of the rating scale" in claim.statement
    assert "into the top 10 of 55.0% of users instead of 5.0% (average profiles)" in claim.statement
    assert "random profiles move the hit ratio most, from 5.0% to 90.0%" in claim.note
    assert "by up to 0.50%" in claim.note
    assert (claim.better, claim.n, claim.cost.queries) == ("lower", 2, 30)
    assert set(claim.evidence) == {item.digest for item in items}
    assert judge_recommender_shift(items[::-1]).claims == (claim,)


def test_a_nuke_counts_downwards():
    down = evidence(goal="nuke", shift=[-0.8, -0.4], before=[0.6, 0.5], after=[0.0, 0.1])
    up = evidence("random", goal="nuke", shift=[0.8, 0.8])
    (claim,) = judge_recommender_shift([up, down]).claims
    assert claim.value == pytest.approx(0.15)
    assert "down by 15.0%" in claim.statement


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, "medium"),
        ({"share": 0.01}, "high"),
        ({"after": [0.0, 0.1]}, "medium"),  # the shift alone
        ({"shift": [0.1, 0.1]}, "medium"),  # the hits alone
        ({"shift": [0.1, 0.1], "after": [0.0, 0.1]}, None),
        ({"shift": [0.8], "before": [0.0], "after": [0.0]}, None),  # one item says little
    ],
)
def test_what_is_worth_a_finding(changes, severity):
    findings = judge_recommender_shift([evidence(**changes)]).findings
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    for finding in findings:
        assert "Simple statistics tell them from real users" in finding.message
        assert "screen new profiles" in finding.remedy


def test_hidden_profiles_are_said_to_be_hidden():
    (claim,) = judge_recommender_shift([evidence(rdma=[0.5, 0.6], degsim=[0.4, 0.5])]).claims
    assert "hardly tell them" in claim.note
    (claim,) = judge_recommender_shift([evidence(rdma=[0.5, 0.6], degsim=[0.0, 0.1])]).claims
    assert "hardly" not in claim.note  # what is always ranked last is told apart too


def test_claims_are_sorted_and_one_per_goal_and_number():
    items = [evidence(goal=goal, share=share) for share in (0.05, 0.01) for goal in ("push", "nuke")]
    scopes = [(c.scope["share"], c.scope["goal"]) for c in judge_recommender_shift(items).claims]
    assert scopes == [(0.01, "nuke"), (0.01, "push"), (0.05, "nuke"), (0.05, "push")]


def test_nothing_measured_is_nothing_claimed():
    empty = {name: [] for name in ("shift", "before", "after", "rdma", "degsim")}
    item = msgspec.structs.replace(evidence(**empty), cut="seconds")
    (claim,) = judge_recommender_shift([item]).claims
    assert (claim.value, claim.interval, claim.n) == (None, None, 0)
    assert claim.statement == "No item was attacked."
    assert "cut short (seconds)" in claim.note
