"""Auditing a recommender: from Python, from the configuration file and on the command line."""

from __future__ import annotations

import json

import pytest

import modelward
from modelward.adapters.data.options import Constraints
from modelward.cli import main
from modelward.errors import ConfigInvalid
from modelward.verbs.config import read_config

SOURCE = """
import numpy as np

class Means:
    def fit(self, users, items, ratings):
        counts = np.bincount(items, minlength=items.max() + 1)
        self.means = np.bincount(items, ratings, len(counts)) / counts

    def predict(self, users):
        return np.tile(self.means, (len(users), 1))
"""
ARGUMENTS = ["audit", "--factory", "means_of_items:Means", "--data", "ratings.csv"]
QUICK = ["--recommender", "user,item,rating", "--preset", "quick", "--format", "json"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "means_of_items.py").write_text(SOURCE)
    rows = [f"u{u},i{i},{1 + (u * i) % 5}" for u in range(12) for i in range(9) if (u + i) % 3]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,rating", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return ended.value.code, told


def test_the_command_line(folder, capsys):
    code, told = asked([*ARGUMENTS, *QUICK], capsys)
    result = json.loads(told.out)
    assert code in {0, 1}
    assert {claim["id"] for claim in result["claims"]} == {"recommender-shift"}
    assert [check["check"] for check in result["checks"]] == ["evasion.profiles"]
    assert [subject["format"] for subject in result["subjects"]] == ["recommender", "ratings"]
    assert "--recommender user,item,rating" in result["command"]
    skipped = {item["check"]: item["reason"] for item in result["skipped"]}
    assert "no model" in skipped["quality"]


def test_a_second_run_repeats_nothing_and_an_edited_factory_everything(folder, capsys):
    _, first = asked([*ARGUMENTS, *QUICK], capsys)
    _, again = asked([*ARGUMENTS, *QUICK], capsys)
    assert json.loads(again.out)["checks"][0]["resumed"]
    (folder / "means_of_items.py").write_text(SOURCE + "\n# changed\n")
    _, edited = asked([*ARGUMENTS, *QUICK], capsys)
    runs = [json.loads(told.out)["run"] for told in (first, again, edited)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([*ARGUMENTS, "--recommender", "user,item"], "names 2 columns"),
        ([*ARGUMENTS, "--recommender", "user,item,stars"], "no column 'stars'"),
        (["audit", "--data", "ratings.csv", "--recommender", "user,item,rating"], "none was named"),
        (["audit", "--factory", "means_of_items:Means", "--recommender", "user,item,rating"], "needs its ratings"),
        (["audit", "m.onnx", *ARGUMENTS[1:], "--recommender", "user,item,rating"], "m.onnx cannot be the model"),
        ([*ARGUMENTS[:3], "--data", "none.csv", "--recommender", "user,item,rating"], "cannot be read"),
        (["audit", "--factory", "nowhere:build", *ARGUMENTS[3:], "--recommender", "user,item,rating"], "nowhere"),
        (ARGUMENTS, "no model was named"),
        ([*ARGUMENTS, "--recommender", "user,user,rating"], "the column 'user' twice"),
        ([*ARGUMENTS, "--recommender", "rating,item,rating"], "the column 'rating' twice"),
        ([*ARGUMENTS, *QUICK, "--norm", "l2", "--label", "rating"], "and label, norm would mean nothing"),
        ([*ARGUMENTS, *QUICK, "--train", "ratings.csv"], "and train would mean nothing"),
        ([*ARGUMENTS, *QUICK, "--limit", "5", "--eps", "0.1"], "and eps, limit would mean nothing"),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_sentence(folder, capsys, arguments, why):
    code, told = asked(arguments, capsys)
    assert code == 2
    assert why in told.err
    assert told.out == ""


def test_the_configuration_file(folder):
    path = folder / "modelward.toml"
    path.write_text(
        '[model]\nfactory = "means_of_items:Means"\n'
        '[data]\npath = "ratings.csv"\nrecommender = ["user", "item", "rating"]\n[audit]\npreset = "quick"\n'
    )
    plan = read_config(path)
    assert plan.model is None
    result = modelward.audit(plan.model, plan.data, plan.options)
    assert {claim.id for claim in result.claims} == {"recommender-shift"}
    assert result.complete


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "item"), ("vectors", "v.txt"), ("sensitive", ("user",)), ("immutable", ("user",)),
        ("bounds", (0.0, 1.0)), ("outputs", "logits"), ("classes", ("a", "b")),
        ("constraints", Constraints(up=("rating",))),
    ],
)  # fmt: skip
def test_what_no_check_would_listen_to_is_refused(folder, name, value):
    options = modelward.AuditOptions(
        factory="means_of_items:Means", import_from=folder, recommender=("user", "item", "rating"),
        **{name: value},
    )  # fmt: skip
    with pytest.raises(ConfigInvalid, match=f"and {name} would mean nothing"):
        modelward.audit(None, "ratings.csv", options)


def test_python(folder):
    options = modelward.AuditOptions(
        factory="means_of_items:Means",
        import_from=folder,
        recommender=("user", "item", "rating"),
        preset="quick",
    )
    result = modelward.audit(None, "ratings.csv", options)
    assert {claim.scope["goal"] for claim in result.claims} == {"push", "nuke"}
    assert "modelward audit --data ratings.csv --factory means_of_items:Means" in result.command
