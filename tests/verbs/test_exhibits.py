from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

import modelward
from modelward.reporting.json_report import to_json
from modelward.verbs.exhibits import exhibits
from modelward.verbs.points import save_points
from modelward.verbs.report import report
from modelward.verbs.witnesses import save_witnesses

NAMES = ["age", "income", "town"]


def bright(x):
    """Whether the left half of 6 x 6 pictures is brighter than the right, as logits."""
    margin = x.reshape(len(x), 6, 6)[:, :, :3].mean(axis=(1, 2)) - x.reshape(len(x), 6, 6)[:, :, 3:].mean(
        axis=(1, 2)
    )
    return np.stack([-5 * margin, 5 * margin], axis=1)


def rich(x):
    margin = np.asarray(x, np.float64)[:, 1] - 50
    return np.stack([-margin, margin], axis=1)


def spam(texts):
    found = np.array([text.count("prize") for text in texts], np.float64)
    return np.stack([np.full(len(found), 0.5), found], axis=1)


def audited(folder, model, data, **options):
    options.setdefault("norm", ("linf",))
    chosen = modelward.AuditOptions(
        checks=("evasion",), preset="quick", store=folder / "store", limit=12, **options
    )
    return modelward.audit(model, data, chosen)


@pytest.fixture(scope="session")
def pictured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictured")
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.8, (40, 1, 6, 6)).astype(np.float32)
    y = bright(x).argmax(axis=1)
    return (
        folder,
        (x, y),
        audited(folder, bright, (x, y), norm=("linf", "l2"), eps=(0.05, 0.3), bounds=(0.0, 1.0)),
    )


@pytest.fixture(scope="session")
def tabled(tmp_path_factory):
    pandas = pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("tabled")
    rng = np.random.default_rng(1)
    table = pandas.DataFrame(
        {
            "age": rng.integers(20, 60, 60),
            "income": rng.integers(0, 100, 60),
            "town": rng.choice(["a", "b"], 60),
        }
    )
    table["label"] = (table["income"] > 50).astype(int)
    return folder, table, audited(folder, rich, table, label="label", eps=(0.2,), train=table)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(2)
    words = rng.choice(["hello", "meeting", "prize", "tomorrow", "see", "you"], (40, 8))
    texts = [" ".join(row) for row in words]
    y = np.array(["prize" in text for text in texts], np.int64)
    return folder, texts, audited(folder, spam, (texts, y), eps=(1.0, 2.0))


def test_pictures_come_smallest_first_norms_in_turn_one_per_label_first(pictured):
    folder, (_, y), result = pictured
    shown = exhibits(result, folder / "store", 6)
    assert len(shown) == 6
    assert [one.norm for one in shown[:2]] == ["linf", "l2"]
    assert [one.norm for one in shown].count("linf") == [one.norm for one in shown].count("l2") == 2
    everything = exhibits(result, folder / "store", 1000)
    for norm in ("linf", "l2"):
        mine = [one for one in shown if one.norm == norm]
        labels = {one.label for one in everything if one.norm == norm}
        assert len({one.row for one in mine}) == 2
        assert {one.label for one in mine[: len(labels)]} == labels
    assert {one.label for one in everything} == {"0", "1"}
    smallest = min(one.size for one in everything if one.norm == "linf")
    assert shown[0].size == smallest
    assert len({(one.norm, one.row) for one in everything}) == len(everything)
    for one in everything:
        assert one.label == str(y[one.row])
        assert one.prediction == str(1 - y[one.row])
        assert one.size <= one.eps
        assert (one.picture.width, one.picture.height) == (6, 6)
        assert 1 <= one.touched <= 36


def test_what_nobody_attacked_takes_turns_as_one_kind(pictured):
    """Corruptions are one kind and motions another, however many of each there are."""
    folder, (_, y), result = pictured
    everything = exhibits(result, folder / "store", 1000)
    damaged = [one for one in everything if one.check == "evasion.corruption"]
    kinds = [one.unit for one in damaged]
    assert set(kinds) == {"levels of severity", "times the largest"}
    for unit, most in (("levels of severity", 5), ("times the largest", 1)):
        mine = [one for one in damaged if one.unit == unit]
        assert len({one.row for one in mine}) == len(mine)  # the mildest of each point, whatever it was
        assert all(0 < one.size <= most == one.eps for one in mine)
    for one in damaged:
        assert one.picture is not None
        assert one.label == str(y[one.row])
        assert f"{one.norm.replace('_', ' ')}" in one.facts.replace("_", " ")
    assert {one.check for one in exhibits(result, folder / "store", 4)} > {"evasion.corruption"}


def test_the_cells_that_changed_and_no_other(tabled):
    folder, table, result = tabled
    shown = exhibits(result, folder / "store", 5)
    assert shown
    for one in shown:
        assert one.picture is None
        (income,) = [cell for cell in one.cells if cell.column == "income"]
        assert income.before == str(table["income"][one.row])
        assert (float(income.after) > 50) != (float(income.before) > 50)
        width = table["income"].max() - table["income"].min()
        assert income.units == pytest.approx((float(income.after) - float(income.before)) / width)
        assert "town" not in {cell.column for cell in one.cells}
        assert one.touched == len(one.cells)


def test_texts_in_pieces_that_put_together_are_the_texts(spoken):
    folder, texts, result = spoken
    shown = exhibits(result, folder / "store", 4)
    assert shown
    for one in shown:
        assert "".join(piece.text for piece in one.before).replace("…", "") in texts[one.row] or "…" in str(
            one.before
        )
        assert any(piece.changed for piece in one.after)
        assert one.touched == sum(piece.changed for piece in one.after)


def test_json_lists_them_only_when_asked(tabled):
    folder, _, result = tabled
    assert json.loads(to_json(result))["witnesses"] is None
    listed = json.loads(to_json(result, exhibits(result, folder / "store", 2)))["witnesses"]
    assert [one["cells"][0]["column"] for one in listed]
    assert exhibits(report(folder / "store"), folder / "store", 2) == exhibits(result, folder / "store", 2)


def test_every_point_has_one_line_per_norm_and_eps(pictured, tmp_path):
    _, (_, y), result = pictured
    count = save_points(result, tmp_path / "points.csv")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "points.csv").read_text())))
    assert count == len(lines) == 12 * 4
    assert len({(line["row"], line["norm"], line["eps"]) for line in lines}) == 48
    assert (tmp_path / "points.csv").stat().st_mode & 0o777 == 0o600
    for line in lines:
        assert line["label"] == str(y[int(line["row"])])
        assert line["state"] in {"broken", "undecided"}
        assert (line["size"] != "") == (line["state"] == "broken") == (line["found_by"] != "")
        assert line["size"] == "" or 0 < float(line["size"]) <= float(line["eps"])
        assert line["queries"] == "" or int(line["queries"]) >= 1
    upper = {
        (claim.scope["norm"], claim.scope["eps"]): claim.bracket.upper
        for claim in result.claims
        if claim.id == "robust-accuracy"
    }
    for (norm, eps), share in upper.items():
        left = [line["state"] for line in lines if line["norm"] == norm and float(line["eps"]) == eps]
        assert left.count("undecided") / 12 == pytest.approx(share)


def test_where_only_corruptions_ran_the_arrays_of_attacks_are_empty(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.8, (20, 1, 6, 6)).astype(np.float32)
    options = modelward.AuditOptions(
        checks=("evasion.corruption",), preset="quick", store=tmp_path / "store", limit=10, bounds=(0.0, 1.0)
    )
    result = modelward.audit(bright, (x, bright(x).argmax(axis=1)), options)
    count = save_witnesses(result, tmp_path / "store", tmp_path / "w.npz")
    stored = np.load(tmp_path / "w.npz", allow_pickle=False)
    assert [len(stored[name]) for name in ("index", "x", "norm", "eps")] == [0, 0, 0, 0]
    assert len(stored["evasion.corruption/index"]) == count > 0
    wrong = bright(stored["evasion.corruption/x"]).argmax(axis=1)
    assert (wrong == stored["evasion.corruption/prediction"]).all()
    assert (wrong != stored["evasion.corruption/label"]).all()


@pytest.mark.parametrize("kind", ["pictured", "tabled", "spoken"])
def test_saved_witnesses_of_every_kind_can_be_read_back(request, tmp_path, kind):
    folder, _, result = request.getfixturevalue(kind)
    count = save_witnesses(result, folder / "store", tmp_path / "w.npz")
    stored = np.load(tmp_path / "w.npz", allow_pickle=False)
    assert len(stored["index"]) == len(stored["x"]) == len(stored["norm"]) > 0
    damaged = {name.rpartition("/")[2]: stored[name] for name in stored.files if "/" in name}
    assert count == len(stored["index"]) + len(damaged.get("index", ()))
    assert (damaged == {}) == (kind == "spoken")
    assert set(stored["norm"]) <= {"linf", "l2", "edits"}  # what stands at the top lies within its ball
    if damaged:
        assert set(damaged["check"]) == {"evasion.corruption"}
        assert (
            len({len(damaged[name]) for name in ("index", "x", "original", "norm", "eps", "prediction")}) == 1
        )
    assert ("changed" in stored) == (kind == "spoken")
    assert (stored["x"].dtype.kind == "U") == (kind == "spoken")
    if kind == "spoken":
        assert all(x != original for x, original in zip(stored["x"], stored["original"], strict=True))
