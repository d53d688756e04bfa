"""Classifiers whose smallest sufficient change is known, and what evidence says of it."""

import itertools
import json
from string import ascii_lowercase

import numpy as np
import pytest

from modelward.adapters.data import from_arrays
from modelward.core.budget import Budget
from modelward.core.canonical import canonical
from modelward.core.check import Settings, Subjects
from modelward.core.evidence import to_json
from modelward.errors import ModelRaised
from modelward.threats.evasion.judge import judge_robust_accuracy
from modelward.threats.evasion.text.check import TextCheck
from modelward.threats.evasion.text.measure import changed, edits
from modelward.threats.evasion.text.normalise import normalised
from modelward.threats.evasion.text.threat import TextThreat

WORDS = ("free", "prize", "cash", "win")
FILLER = "please read this message about the meeting of tomorrow"


def keywords(count):
    """Texts with so many keywords each, which a model finds as whole words; no edit touches two of them."""
    words = [f"{word} {other}" for word, other in zip(WORDS[:count], FILLER.split(), strict=False)]
    return [*words, *FILLER.split()[count:]]


def whole_words(text):
    return 2 * len(set(WORDS).intersection(text.split())) - 1


def rows(item, name):
    return item.outcome[name]


def test_as_many_edits_as_there_are_keywords(attack, text_model):
    """Each keyword must be broken by an edit of its own: k keywords stand k - 1 edits, and fall to k."""
    texts = [" ".join(keywords(k)) for k in (1, 2, 3, 4)] + [FILLER, "a plain text about something else"]
    evidence, _, _ = attack(texts, ["yes"] * 4 + ["no"] * 2, text_model(whole_words), eps=(1, 2, 3, 4))
    assert [rows(item, "broken") for item in evidence] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    assert [rows(item, "sizes") for item in evidence] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert [item.outcome["inherited"] for item in evidence] == [0, 1, 2, 3]
    assert all(rows(item, "correct") == [0, 1, 2, 3, 4, 5] for item in evidence)
    assert [item.parameters["eps"] for item in evidence] == [1, 2, 3, 4]


@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
def test_every_preset_finds_the_one_edit(attack, text_model, preset):
    texts = [f"{FILLER[:i]} free {FILLER[i:]}" for i in (0, 6, 14, 30)]
    texts = [" ".join(text.split()) for text in texts]
    evidence, _, _ = attack(texts, ["yes"] * 4, text_model(whole_words), eps=(1,), preset=preset)
    assert rows(evidence[0], "broken") == [i for i, t in enumerate(texts) if whole_words(t) > 0]


def test_a_model_that_reads_nothing_cannot_be_turned(attack, text_model):
    evidence, store, _ = attack([FILLER] * 3, ["yes"] * 3, text_model(lambda _: 1.0), eps=(1, 5))
    assert all(rows(item, "broken") == [] for item in evidence)
    assert store.held == []
    assert all(item.attachments == {} for item in evidence)


@pytest.mark.parametrize(
    ("score", "kind"),
    [
        (lambda t: 0.5 - (t.count("\u0435") > 0), "lookalike"),
        (lambda t: 0.5 - any(c in t for c in "\u200b\u2060\u00ad"), "invisible character"),
        (lambda t: 0.5 - ("\u202e" in t), "directional reordering"),
        (lambda t: 0.5 - any(c.isupper() for c in t), "case"),
        (lambda t: 0.5 - any(c.isdigit() for c in t), "digit for letter"),
        (lambda t: 0.5 - any(0xFF01 <= ord(c) <= 0xFF5E for c in t), "compatibility character"),
    ],
)
def test_every_kind_is_tried(attack, text_model, score, kind):
    evidence, _, _ = attack([FILLER], ["yes"], text_model(score), eps=(3,), preset="thorough")
    assert rows(evidence[0], "broken") == [0]
    assert kind in evidence[0].outcome["kinds"] or kind == "digit for letter"


def test_brute_force_agrees_on_one_edit(attack, text_model):
    """A linear model of characters: the search misses no point that any single tried edit would turn."""
    weights = dict(zip(ascii_lowercase, np.random.default_rng(3).normal(size=26), strict=True))

    def score(text):
        return sum(weights.get(c, 0.0) for c in text)

    words = FILLER.split()
    texts = [" ".join(order) for order in itertools.islice(itertools.permutations(words, 4), 0, 400, 13)]
    labels = ["yes" if score(text) > 0 else "no" for text in texts]
    evidence, _, _ = attack(texts, labels, text_model(score), eps=(1,), preset="thorough")
    sign = np.array([1 if label == "yes" else -1 for label in labels])
    worst = [
        min(s * score(t[:i] + t[i + 1 :]) for i in range(len(t))) for s, t in zip(sign, texts, strict=True)
    ]
    fallen = {i for i, margin in enumerate(worst) if margin < 0}
    assert fallen <= set(rows(evidence[0], "broken"))


def test_witnesses_by_an_independent_path(attack, text_model):
    texts = [" ".join(keywords(k)) for k in (0, 1, 2, 3)]
    model = text_model(whole_words)
    evidence, store, _ = attack(texts, ["no", "yes", "yes", "yes"], model, eps=(2, 0.1))
    for item, held in zip(evidence, store.held, strict=True):
        assert held["index"].tolist() == rows(item, "broken")
        found = zip(held["index"], held["original"], held["x"], held["changed"], strict=True)
        for index, original, x, spans in found:
            assert original == texts[index]
            assert whole_words(str(x)) < 0
            assert TextThreat("edits", item.parameters["eps"]).admits(str(original), str(x))
            assert [tuple(span) for span in json.loads(str(spans))] == changed(str(original), str(x))
        assert held["prediction"].tolist() == [0] * len(held["x"])
        assert held["classes"].tolist() == ["no", "yes"]
        assert all(array.dtype != object for array in held.values())


def test_normalisation_is_asked_about(attack, text_model):
    """Only lookalikes of e turn this model, and folding them is what helps."""
    evidence, _, _ = attack(
        [FILLER, FILLER + " again"],
        ["yes"] * 2,
        text_model(lambda t: 0.5 - ("\u0435" in t)),
        eps=(1,),
        preset="thorough",
    )
    removed = evidence[0].outcome["removed_by"]
    assert removed["lookalikes folded"] == 2
    assert removed["invisible characters stripped"] == 0
    assert removed["the first four together"] == removed["all together"] == 2
    assert set(evidence[0].outcome["right_with"].values()) == {2}
    finding = next(
        f for f in judge_robust_accuracy(evidence).findings if f.rule == "evasion.text-normalisation"
    )
    assert "lookalikes folded: 2" in finding.message
    assert "2 are answered right" in finding.message


def test_no_finding_where_normalising_helps_nothing(attack, text_model):
    evidence, _, _ = attack([FILLER], ["yes"], text_model(lambda t: 0.5 - ("meting" in t)), eps=(1,))
    assert rows(evidence[0], "broken") == [0]
    assert [f.rule for f in judge_robust_accuracy(evidence).findings] == ["evasion.fragile"]


def test_claim_in_words(attack, text_model):
    texts = [" ".join(keywords(k)) for k in (1, 2)]
    evidence, _, _ = attack(texts, ["yes"] * 2, text_model(whole_words), eps=(1, 0.1))
    first, second = judge_robust_accuracy(evidence).claims
    assert first.statement.startswith("Under any change of at most 1 edit, of 2 points")
    assert "change of at most 0.1 of the characters" in second.statement
    assert (first.bracket.lower, first.bracket.upper) == (None, 0.5)


def test_synonyms(attack, text_model, word_vectors):
    texts = ["what a good film that was", "good fine film", "a bad film about paris"]
    model = text_model(lambda t: 2 * ("good" in t) + ("film" in t) - 1.5)
    evidence, store, _ = attack(texts, ["yes", "yes", "no"], model, vectors=word_vectors, eps=(1, 2))
    words = [item for item in evidence if item.parameters["norm"] == "words"]
    assert [item.parameters["eps"] for item in words] == [1, 2]
    assert [rows(item, "broken") for item in words] == [[0, 1], [0, 1]]
    assert [item.outcome["kinds"] for item in words] == [{"synonym": 2}, {"synonym": 2}]
    assert "fine" in str(store.held[-1]["x"][0])


def test_decisions_alone_guide_nothing_and_still_break(attack, text_model):
    model = text_model(whole_words, kind="labels")
    evidence, _, _ = attack([" ".join(keywords(1))[:30]], ["yes"], model, eps=(1,), preset="thorough")
    assert rows(evidence[0], "broken") == [0]
    assert "weak attack" in judge_robust_accuracy(evidence).claims[0].note


def test_same_seed_same_evidence(attack, text_model):
    def run(seed):
        texts = [" ".join(keywords(k)) for k in (2, 3, 4)]
        evidence, store, _ = attack(texts, ["yes"] * 3, text_model(whole_words), eps=(2, 4), seed=seed)
        plain = [to_json(item) for item in evidence]
        for item in plain:
            item["cost"].pop("seconds")
        return canonical(plain), [held["x"].tolist() for held in store.held]

    assert run(1) == run(1)


@pytest.mark.parametrize("limit", [1, 3, 10, 100, 500])
def test_budget_is_kept(attack, text_model, limit):
    model = text_model(whole_words)
    texts = [" ".join(keywords(k)) for k in (1, 2, 4)]
    evidence, _, meter = attack(texts, ["yes"] * 3, model, eps=(1, 2, 3), budget=Budget(queries=limit))
    assert model.asked <= meter.cost.queries <= limit
    assert sum(item.cost.queries for item in evidence) == meter.cost.queries
    assert all(item.cut == "queries" for item in evidence[-1:])
    if limit < 3:
        assert [item.n for item in evidence] == [0, 0, 0]


def test_a_model_that_raises_on_a_text(attack, text_model):
    """What it raises on counts as wrong; the others of the batch are asked alone."""

    def strict(text):
        if "\u200b" in text:
            raise ModelRaised("no such character")
        return whole_words(text)

    evidence, store, meter = attack(
        [f"{FILLER} win"], ["yes"], text_model(strict), eps=(1,), preset="thorough"
    )
    assert rows(evidence[0], "broken") == [0]
    assert meter.cost.queries > 0
    assert store.held[0]["prediction"].tolist() in ([-1], [0])


def test_odd_texts_are_attacked_too(attack, text_model):
    texts = [
        "",
        "\0",
        "\ud800 lone surrogate with free inside",
        "free\0 at the end of zero \0",
        "x" * 3000 + " free",
    ]
    evidence, store, _ = attack(texts, ["no", "no", "yes", "no", "yes"], text_model(whole_words), eps=(1,))
    assert rows(evidence[0], "correct") == [0, 1, 2, 3, 4]
    assert {2, 4} <= set(rows(evidence[0], "broken"))
    assert edits(texts[4], str(store.held[0]["x"][-1]), 3) == 1
    canonical(to_json(evidence[0]))


def test_declines(text_model):
    model = text_model(whole_words)

    def reason(x, y, **settings):
        subjects = Subjects(model=model, data=from_arrays(x, y), attachments=None)
        return TextCheck(Settings(**settings)).declines(subjects)

    assert "holds numbers" in reason(np.zeros((2, 2)), [0, 1])
    assert "whole number" in reason(["a", "b"], ["no", "yes"], eps=(1.5,))
    assert "is not a class" in reason(["a", "b"], ["no", "maybe"])
    assert reason(["a", "b"], ["no", "yes"], eps=(0.5, 2)) is None
    assert model.asked == 0


def test_normalised_is_public_ground_for_defences():
    assert normalised("fr\u0435\u200be") == "free"
