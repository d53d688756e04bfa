"""Audits of models that read texts, from file to saved witnesses."""

import json

import numpy as np
import pytest

import modelward
from modelward.cli.audit import _floors
from modelward.core.check import Similarity
from modelward.errors import ColumnMissing, ConfigInvalid, ShapeMismatch
from modelward.threats.evasion.text.threat import TextThreat
from modelward.verbs.config import read_config
from modelward.verbs.witnesses import save_witnesses

SPAM = "claim your free prize now and call us today"
HAM = "see you at home tonight after the long meeting"


def keyword(texts):
    """Knows one word."""
    found = np.array([float("free" in text.split()) for text in texts])
    return np.column_stack([1 - found, found])


@pytest.fixture
def options(tmp_path):
    """Options of a short audit; keywords replace parts."""

    def make(**changes):
        parts = {
            "store": tmp_path / "store",
            "eps": (1,),
            "preset": "quick",
            "limit": 8,
            "classes": ("ham", "spam"),
        }
        return modelward.AuditOptions(**parts | changes)

    return make


@pytest.fixture
def messages(tmp_path):
    path = tmp_path / "messages.csv"
    rows = [f"{SPAM} {i},spam" for i in range(4)] + [f"{HAM} {i},ham" for i in range(4)]
    path.write_text("\n".join(["message,kind", *rows]))
    return path


def test_a_function_of_texts_is_attacked_and_all_else_says_why_not(options, messages, tmp_path):
    chosen = options(label="kind", text="message")
    result = modelward.audit(keyword, str(messages), chosen)
    bracket = next(claim.bracket for claim in result.claims if claim.id == "robust-accuracy")
    assert (bracket.lower, bracket.upper) == (None, 0.5)
    assert {"quality", "evasion.text"} <= {run.check for run in result.checks}
    assert all(len(skipped.reason) > 10 for skipped in result.skipped)
    assert "--text message" in result.command
    count = save_witnesses(result, chosen.store, tmp_path / "witnesses.npz")
    assert count == 4
    with np.load(tmp_path / "witnesses.npz", allow_pickle=False) as held:
        for x, original, spans in zip(held["x"], held["original"], held["changed"], strict=True):
            assert "free" not in str(x).split()
            assert str(original).startswith(SPAM)
            assert TextThreat("edits", 1.0).admits(str(original), str(x))
            assert all(0 <= start <= end <= len(str(x)) for start, end in json.loads(str(spans)))
        assert set(held["norm"].tolist()) == {"edits"}


def test_lists_of_texts(options):
    texts, labels = [SPAM] * 4 + [HAM] * 4, ["spam"] * 4 + ["ham"] * 4
    result = modelward.audit(keyword, (texts, labels), options(checks=("quality",)))
    assert next(claim.value for claim in result.claims if claim.id == "accuracy") == 1.0


def test_a_wrong_column_is_named(options, messages):
    with pytest.raises(ColumnMissing, match="'message'"):
        modelward.audit(keyword, str(messages), options(label="kind", text="mesage"))


def test_a_pipeline_of_texts_says_that_it_needs_them(options, messages, tmp_path):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(text.TfidfVectorizer(), LogisticRegression()).fit([SPAM, HAM], ["spam", "ham"])
    table = tmp_path / "two.csv"
    rows = "".join(f"{SPAM},{i},x{i},spam\n{HAM},{i},y{i},ham\n" for i in range(4))
    table.write_text("message,length,sender,kind\n" + rows)
    with pytest.raises(ShapeMismatch, match="the model takes texts"):
        modelward.audit(model, str(table), options(label="kind"))
    result = modelward.audit(model, str(table), options(label="kind", text="message", checks=("quality",)))
    assert result.complete
    table.write_text("message,length,kind\n" + "".join(f"{SPAM},{i},spam\n{HAM},{i},ham\n" for i in range(4)))
    found = modelward.audit(model, str(table), options(label="kind", checks=("quality", "evasion.text")))
    assert found.complete  # the one column of texts is what it reads
    assert [run.check for run in found.checks] == ["quality", "evasion.text"]


def test_word_vectors_add_a_norm_and_are_part_of_the_run(options, messages, tmp_path):
    chosen = options(label="kind", text="message")
    runs = []
    for near in ("1 0.1", "0 1"):
        (tmp_path / "vectors.txt").write_text(f"free 1 0\ncostless {near}\n")
        given = options(label="kind", text="message", vectors=str(tmp_path / "vectors.txt"))
        runs.append(modelward.audit(keyword, str(messages), given))
    found = [
        next(claim.bracket.upper for claim in result.claims if claim.scope.get("norm") == "words")
        for result in runs
    ]
    assert found == [0.5, 1.0]
    assert len({result.run for result in (*runs, modelward.audit(keyword, str(messages), chosen))}) == 3


def test_configuration(messages, tmp_path):
    (tmp_path / "modelward.toml").write_text(
        '[data]\npath = "messages.csv"\ntext = "message"\nvectors = "v.txt"\n'
    )
    plan = read_config(tmp_path / "modelward.toml")
    assert (plan.options.text, plan.options.vectors) == ("message", str(tmp_path / "v.txt"))


def test_floors_of_similarity_bound_the_attack_and_are_in_the_claim(options, messages):
    """A floor of 1 admits no change at all, and one of 0 admits what the default refuses."""
    runs = []
    for floors in ({"levenshtein": 1.0}, {}, {"trigrams": 0.99}):
        chosen = options(
            label="kind", text="message", checks=("evasion.text",), similarity=Similarity(**floors)
        )
        runs.append(modelward.audit(keyword, str(messages), chosen))
    claims = [next(claim for claim in run.claims if claim.id == "robust-accuracy") for run in runs]
    assert [claim.bracket.upper for claim in claims] == [1.0, 0.5, 1.0]
    assert [claim.scope["box"]["similarity"]["levenshtein"] for claim in claims] == [1.0, 0.8, 0.8]
    assert len({run.run for run in runs}) == 3
    assert "--similarity levenshtein=1.0" in runs[0].command
    assert "--similarity" not in runs[1].command


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan"), float("inf")])
def test_floors_out_of_range_are_refused(options, messages, floor):
    chosen = options(label="kind", text="message", similarity=Similarity(trigrams=floor))
    with pytest.raises(ConfigInvalid, match=r"similarity trigrams is .*, and must be from 0 to 1"):
        modelward.audit(keyword, str(messages), chosen)


def test_floors_mean_nothing_where_there_are_no_texts(options):
    x = np.linspace(0, 1, 20).reshape(10, 2)
    chosen = options(similarity=Similarity(cosine=0.9), classes=())
    with pytest.raises(ConfigInvalid, match="asked of changed texts, and data holds none"):
        modelward.audit(lambda x: np.column_stack([1 - x[:, 0], x[:, 0]]), (x, np.arange(10) % 2), chosen)


def test_floors_from_a_file_and_from_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "modelward.toml").write_text(
        '[data]\npath = "m.csv"\ntext = "message"\n[audit.similarity]\nlevenshtein = 0.9\ntrigrams = 0.6\n'
    )
    plan = read_config(tmp_path / "modelward.toml")
    assert plan.options.similarity == Similarity(levenshtein=0.9, trigrams=0.6)
    # A flag replaces what it names and keeps the rest.
    assert _floors("trigrams=0.7, cosine = 0.8", plan.options.similarity) == Similarity(
        levenshtein=0.9, trigrams=0.7, cosine=0.8
    )
    assert _floors(None, plan.options.similarity) is None
    for text in ("0.9", "levenshtein", "levenshtein=", "leven=0.9", "cosine=high", "cosine=0.8,,"):
        with pytest.raises(ConfigInvalid, match="give name=number, the name one of levenshtein"):
            _floors(text, Similarity())
    (tmp_path / "bad.toml").write_text("[audit.similarity]\nlevenstein = 0.9\n")
    with pytest.raises(ConfigInvalid, match="levenshtein"):
        read_config(tmp_path / "bad.toml")


def test_odd_texts_are_sent_and_the_baseline_can_be_met(options, messages):
    """The built-in policy asks for `robustness`: models of texts are no longer left without an answer."""
    chosen = options(label="kind", text="message", checks=("robustness",))
    result = modelward.audit(keyword, str(messages), chosen)
    (claim,) = [claim for claim in result.claims if claim.id == "input-faults"]
    assert claim.n > 15
    assert [run.state for run in result.checks] == ["finished"]
    probes = {probe["case"]: probe for probe in result.checks[0].evidence[0].outcome["probes"]}
    assert probes["empty texts"]["answer"] == "answered"
    assert probes["numbers"]["answer"] == "raised"
