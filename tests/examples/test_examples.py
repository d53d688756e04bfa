import json
import os
import pickletools
import re
import tomllib
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

import modelward
from modelward.artifact.verdict import inspect
from modelward.core.catalogue import CHECKS
from modelward.core.digest import file_digest
from modelward.vault.attest.admission import read_admission
from modelward.verbs.config import read_config

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICIES = {"images/release.toml"}
FILES = {
    "medical": "train.csv test.csv forest.skops forest.joblib xgboost.json mlp.pt mlp.py forest-tampered.pkl",
    "images": "train.npz test.npz cnn.onnx cnn.safetensors cnn-certified.safetensors cnn.py",
    "fraud": "train.csv.gz test.csv.gz test.parquet fraud.txt",
    "text": "train.csv test.csv words.skops",
    "recommender": "ratings.csv errors.txt films.py",
}
EVERY = {
    "accuracy",
    "auc",
    "calibration-error",
    "robust-accuracy",
    "membership-auc",
    "membership-tpr",
    "input-faults",
    "load-is-inert",
    "shortcut",
    "corruption-accuracy",
    "cost-inflation",
}
AUDITS = {
    "medical/modelward.toml": (EVERY, "pass"),
    "medical/xgboost.toml": (EVERY, "pass"),
    "medical/mlp.toml": (EVERY, "pass"),
    "medical/tampered.toml": ({"load-is-inert"}, "fail"),
    "images/modelward.toml": (EVERY | {"motion-accuracy"}, "fail"),
    "images/certified.toml": (EVERY | {"motion-accuracy"}, "pass"),
    "fraud/modelward.toml": (EVERY | {"group-gap"}, "fail"),
    "text/modelward.toml": (
        {
            "accuracy",
            "auc",
            "calibration-error",
            "robust-accuracy",
            "load-is-inert",
            "cost-inflation",
            "input-faults",
        },
        "unknown",
    ),
    "recommender/modelward.toml": ({"recommender-shift"}, "fail"),
}


@pytest.fixture(scope="module")
def audited(trained, tmp_path_factory):
    """Audit one configuration once; where the verdict rests on something else, on few points."""
    import torch

    torch.set_num_threads(1)

    @cache
    def run(config: str):
        plan = read_config(trained / config)
        limit = 40 if config in {"fraud/modelward.toml", "text/modelward.toml"} else plan.options.limit
        options = msgspec.structs.replace(plan.options, limit=limit, store=tmp_path_factory.mktemp("store"))
        return modelward.audit(plan.model, plan.data, options)

    return run


def claim(result, name, **scope):
    found = [c for c in result.claims if c.id == name and all(c.scope.get(k) == v for k, v in scope.items())]
    assert len(found) == 1, [c.scope for c in found]
    return found[0]


def test_what_a_release_must_show_is_what_an_audit_is_asked_for():
    """The policy of the sealed network demands no less than the one of its audit."""
    admission = read_admission(EXAMPLES / "images" / "release.toml")
    audit = tomllib.loads((EXAMPLES / "images" / "certified.toml").read_text(encoding="utf-8"))["policy"]
    asked = {item["claim"]: item.get("at-least") for item in audit["require"]}
    for threshold in admission.require:
        assert threshold.at_least == asked[threshold.claim]
    assert {threshold.claim for threshold in admission.require} == {"accuracy", "robust-accuracy"}
    assert admission.audit.max_severity == audit["max-severity"]
    assert admission.scan.verdict == "inert"
    assert admission.attestations.required == ("evidence", "scan")


def test_every_configuration_is_audited_here_and_in_the_demo(script):
    on_disk = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.toml")} - POLICIES
    assert on_disk == set(AUDITS)
    assert sorted(item.config for item in script("demo.py").AUDITS) == sorted(on_disk)


@pytest.mark.parametrize("folder", FILES)
def test_training_writes_what_the_configurations_name(trained, folder):
    written = {path.name for path in (trained / folder).iterdir() if path.is_file()}
    configurations = {path.name for path in (EXAMPLES / folder).glob("*.toml")}
    assert written == set(FILES[folder].split()) | configurations


@pytest.mark.parametrize("config", AUDITS)
def test_an_audit_makes_the_claims_and_reaches_the_verdict_that_the_readme_states(audited, config):
    result = audited(config)
    claims, outcome = AUDITS[config]
    assert {c.id for c in result.claims} == claims
    assert result.verdict.outcome == outcome
    assert result.complete
    readme = (EXAMPLES / config).parent.joinpath("README.md").read_text()
    row = rf"^\| `{Path(config).name}` \|.*\| {outcome} \||^The verdict is \*\*{outcome}\*\*"
    assert re.search(row, readme, re.MULTILINE)


@pytest.mark.parametrize("config", AUDITS)
def test_configurations_state_only_checks_and_claims_that_can_be_met(audited, config):
    # A requirement that no claim answers is a slip in the configuration and not a property of the model.
    details = {reason.detail for reason in audited(config).verdict.reasons}
    assert not details & {"no such claim was made", "it did not run to its end"}


def test_one_policy_holds_for_all_tumour_models_and_one_for_both_digit_readers():
    policies = {path: tomllib.loads((EXAMPLES / path).read_text())["policy"] for path in AUDITS}
    forest, boosted = policies["medical/modelward.toml"], policies["medical/xgboost.toml"]
    assert policies["medical/mlp.toml"] == forest
    assert boosted["require"] == [item for item in forest["require"] if item["claim"] != "load-is-inert"]
    assert boosted["required-checks"] == [name for name in forest["required-checks"] if name != "artifact"]
    assert policies["images/modelward.toml"] == policies["images/certified.toml"]


class TestMedical:
    def test_a_second_training_gives_the_same_data_and_the_same_answers(self, trained, retrained):
        import skops.io
        import torch

        first, second = trained / "medical", retrained / "medical"
        for name in ("train.csv", "test.csv", "xgboost.json", "forest.joblib", "forest-tampered.pkl"):
            assert file_digest(second / name) == file_digest(first / name), name
        weights, again = (torch.load(folder / "mlp.pt", weights_only=True) for folder in (first, second))
        assert all(torch.equal(weights[name], again[name]) for name in weights | again)
        # skops writes object identities into its files, so the bytes differ where the forest does not.
        x = np.loadtxt(first / "test.csv", delimiter=",", skiprows=1)[:, :-1]
        forests = [
            skops.io.load(folder / "forest.skops", trusted=["sklearn.tree._tree.Tree"])
            for folder in (first, second)
        ]
        answers = [
            np.mean([tree.predict_proba(x) for tree in forest.estimators_], axis=0) for forest in forests
        ]
        assert np.array_equal(*answers)

    def test_the_label_counts_malignant_tumours_and_the_split_keeps_their_share(self, trained):
        shares = []
        for name in ("train.csv", "test.csv"):
            header = (trained / "medical" / name).read_text().splitlines()[0].split(",")
            assert header[-1] == "malignant"
            assert len(header) == 31
            rows = np.loadtxt(trained / "medical" / name, delimiter=",", skiprows=1)
            shares.append(rows[:, -1].mean())
            # Malignant nuclei are larger; a label the wrong way round would show here.
            radius = rows[:, header.index("mean_radius")]
            assert radius[rows[:, -1] == 1].mean() > radius[rows[:, -1] == 0].mean() + 3
        assert shares == pytest.approx([212 / 569] * 2, abs=0.005)

    def test_the_network_takes_raw_features(self, trained, script):
        import torch

        network = script("medical/mlp.py").build()
        network.load_state_dict(torch.load(trained / "medical" / "mlp.pt", weights_only=True))
        train = np.loadtxt(trained / "medical" / "train.csv", delimiter=",", skiprows=1)[:, :-1]
        scaled = network[0](torch.tensor(train, dtype=torch.float32)).numpy()
        assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-3)
        assert scaled.std(axis=0) == pytest.approx(1, abs=1e-2)

    def test_the_forest_in_a_pickle_is_inert_and_answers_as_in_skops(self, trained, tmp_path):
        folder = trained / "medical"
        assert inspect(folder / "forest.joblib").verdict == "inert"
        plan = read_config(folder / "modelward.toml")
        options = msgspec.structs.replace(plan.options, checks=("quality",), store=tmp_path)
        both = [
            modelward.audit(folder / name, plan.data, options) for name in ("forest.joblib", "forest.skops")
        ]
        values = [[(c.scope, c.value) for c in result.claims] for result in both]
        assert values[0] == values[1] != []

    def test_the_tampered_file_is_refused_and_nothing_of_it_runs(self, audited, monkeypatch):
        monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"the payload {command!r} ran"))
        result = audited("medical/tampered.toml")
        assert [finding.severity for finding in result.findings] == ["critical"]
        assert "os.system" in result.findings[0].message
        assert [run.check for run in result.checks] == ["artifact.pickle"]
        assert len(result.skipped) == len(CHECKS) - 1

    def test_the_tampered_file_is_a_whole_pickle_with_a_harmless_command(self, trained):
        opcodes = [
            (op.name, arg)
            for op, arg, _ in pickletools.genops((trained / "medical/forest-tampered.pkl").read_bytes())
        ]
        assert ("GLOBAL", "os system") in opcodes
        assert [arg for name, arg in opcodes if name == "BINUNICODE"] == ["true"]
        assert [name for name, _ in opcodes][-1] == "STOP"

    def test_trees_are_decided_and_much_of_the_network_is_proved(self, audited):
        forest = claim(audited("medical/modelward.toml"), "robust-accuracy").bracket
        network = claim(audited("medical/mlp.toml"), "robust-accuracy").bracket
        assert 0.8 <= forest.lower == forest.upper < 1
        assert 0.8 <= network.lower <= network.upper < 1


class TestImages:
    def test_pixels_lie_in_the_box_and_keep_their_grey_levels(self, trained):
        for name, rows in (("train.npz", 1078), ("test.npz", 719)):
            with np.load(trained / "images" / name) as data:
                x, y = data["x"], data["y"]
            assert x.dtype == np.float32
            assert x.shape == (rows, 1, 8, 8)
            assert y.shape == (rows,)
            assert sorted(set(y.tolist())) == list(range(10))
            assert np.array_equal(np.unique(x), np.arange(17) / 16)

    def test_the_onnx_file_answers_as_the_network_it_was_written_from(self, trained, script):
        import onnxruntime
        import torch
        from safetensors.torch import load_file

        network = script("images/cnn.py").build()
        network.load_state_dict(load_file(trained / "images" / "cnn.safetensors"))
        session = onnxruntime.InferenceSession(
            trained / "images" / "cnn.onnx", providers=["CPUExecutionProvider"]
        )
        x = np.random.default_rng(0).random((7, 1, 8, 8), np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        (answer,) = session.run(None, {"input": x})
        assert answer == pytest.approx(expected, abs=1e-4)

    def test_the_exporter_names_the_layer_that_it_does_not_know(self, script, tmp_path):
        from torch import nn

        with pytest.raises(TypeError, match="a layer of type Tanh is not exported"):
            script("images/export.py").write_onnx(nn.Sequential(nn.Tanh()), (3,), tmp_path / "x.onnx")

    def test_training_is_the_same_each_time(self, trained, script, monkeypatch):
        import torch

        module = script("images/train.py")
        for name, value in (("EPOCHS", 2), ("WARM_UP", 0), ("RAMP", 1)):
            monkeypatch.setattr(module, name, value)
        with np.load(trained / "images" / "train.npz") as data:
            x, y = torch.from_numpy(data["x"][:200]), torch.from_numpy(data["y"][:200])
        first, again = (module.trained(module.certified_loss, x, y).state_dict() for _ in range(2))
        assert all(torch.equal(first[name], again[name]) for name in first)

    def test_the_training_bounds_enclose_every_image_of_a_box(self, script):
        import torch

        module = script("images/train.py")
        torch.manual_seed(1)
        network = module.build()
        x = torch.rand(5, 1, 8, 8)
        low, high = module.bounds(network, x, 0.1)
        inside = (x + 0.1 * (2 * torch.rand(200, *x.shape) - 1)).clamp(0, 1)
        with torch.no_grad():
            answers = network(inside.flatten(0, 1)).reshape(200, 5, 10)
        assert (answers >= low - 1e-5).all()
        assert (answers <= high + 1e-5).all()
        tight_low, tight_high = module.bounds(network, x, 0.0)
        assert torch.allclose(tight_low, tight_high, atol=1e-5)

    def test_training_on_bounds_closes_the_bracket(self, audited):
        usual = claim(audited("images/modelward.toml"), "robust-accuracy", eps=0.0625).bracket
        certified = claim(audited("images/certified.toml"), "robust-accuracy", eps=0.0625).bracket
        assert usual.upper < 0.75
        assert certified.lower >= 0.75
        assert certified.upper - certified.lower < min(0.1, usual.upper - usual.lower)
        accuracies = [
            claim(audited(f"images/{name}.toml"), "accuracy").value for name in ("modelward", "certified")
        ]
        assert min(accuracies) > 0.94


class TestFraud:
    def test_a_second_training_gives_the_same_bytes(self, trained, retrained):
        for name in ("train.csv.gz", "test.csv.gz", "fraud.txt"):
            assert file_digest(retrained / "fraud" / name) == file_digest(trained / "fraud" / name), name

    def test_the_generator_depends_on_its_seed_alone(self, script):
        module = script("fraud/generate.py")
        one, same, other = (module.generate(500, seed) for seed in (3, 3, 4))
        assert one.equals(same)
        assert not one.equals(other)

    def test_fraud_is_as_rare_as_documented_in_every_group(self, script):
        module = script("fraud/generate.py")
        payments = module.generate(200_000, seed=5)
        assert payments.fraud.mean() == pytest.approx(0.025, abs=0.0015)
        for column in ("age_group", "sex", "country"):
            rates = payments.groupby(column).fraud.mean()
            assert rates.to_numpy() == pytest.approx(0.025, abs=0.004), column

    def test_columns_are_those_of_the_documented_table(self, script):
        module = script("fraud/generate.py")
        payments = module.generate(20_000, seed=6)
        documented = re.findall(
            r"^ {8}(\w+) +(?:real|integer|boolean|category|label) ", module.generate.__doc__, re.MULTILINE
        )
        assert list(payments.columns) == documented
        assert payments.age.between(18, 90).all()
        assert payments.hour.between(0, 23).all()
        assert (payments.amount > 0).all()
        for group, (first, after, share) in module.AGE_GROUPS.items():
            ages = payments.age[payments.age_group == group]
            assert (ages.min(), ages.max()) == (first, after - 1)
            assert len(ages) / len(payments) == pytest.approx(share, abs=0.02)
        assert not payments.isna().any(axis=None)

    def test_age_groups_are_invented_equal_but_for_what_is_talked_into(self, script):
        # Where nobody is talked into anything, the fraud looks the same in every group.
        module = script("fraud/generate.py")
        assert sorted(module.TALKED_INTO.values()) == list(module.TALKED_INTO.values())
        payments = module.generate(200_000, seed=7)
        from_new_device = (
            payments[payments.fraud == 1]
            .groupby("age_group")
            .device_days.apply(lambda days: (days < 30).mean())
        )
        expected = [(1 - module.TALKED_INTO[group]) * 0.85 for group in from_new_device.index]
        assert from_new_device.to_numpy() == pytest.approx(expected, abs=0.05)
        honest = (
            payments[payments.fraud == 0]
            .groupby("age_group")
            .device_days.apply(lambda days: (days < 30).mean())
        )
        assert np.ptp(honest) < 0.01

    def test_the_audit_finds_the_planted_gap_and_no_other(self, audited):
        result = audited("fraud/modelward.toml")
        ages = claim(result, "group-gap", metric="equal-opportunity", columns=["age_group"], extent="column")
        assert ages.scope["highest"] == "age_group=18-34"
        assert ages.scope["lowest"] == "age_group=65+"
        assert ages.interval.lower > 0.1
        assert ages.status == "refuted"
        sexes = claim(result, "group-gap", metric="equal-opportunity", columns=["sex"], extent="column")
        assert sexes.status == "holds"
        assert [f.location for f in result.findings if f.rule == "bias.gap"] == ["age_group"]

    def test_parquet_holds_the_same_rows(self, audited, trained, tmp_path):
        plan = read_config(trained / "fraud" / "modelward.toml")
        options = msgspec.structs.replace(plan.options, checks=("quality",), store=tmp_path)
        result = modelward.audit(plan.model, trained / "fraud" / "test.parquet", options)
        for metric in ("accuracy", "auc"):
            expected = claim(audited("fraud/modelward.toml"), metric).value
            assert claim(result, metric).value == expected

    def test_the_audit_asks_the_model_as_its_training_script_does(self, audited, trained, script):
        # A category coded in another order would change the answers.
        import lightgbm
        import pandas as pd

        module = script("fraud/train.py")
        test = pd.read_csv(trained / "fraud" / "test.csv.gz")
        booster = lightgbm.Booster(model_file=trained / "fraud" / "fraud.txt")
        right = (booster.predict(module.coded(test)) > 0.5) == test.fraud
        assert claim(audited("fraud/modelward.toml"), "accuracy").value == right.mean()


class TestDemo:
    def test_reports_and_the_page_of_all_reports_are_written(self, trained, script, tmp_path, capsys):
        from rich.console import Console

        demo = script("demo.py")
        out = tmp_path / "demo"
        (out / "medical").mkdir(parents=True)
        for name in ("forest-tampered.pkl", "test.csv", "tampered.toml"):
            (out / "medical" / name).write_bytes((trained / "medical" / name).read_bytes())
        chosen = [item for item in demo.AUDITS if item.name == "medical-tampered"]
        index = demo.run_audits(chosen, out, Console(width=100))
        shown = capsys.readouterr().out
        assert "FAIL" in shown
        assert "Loading runs a payload" in shown
        assert index == out / "report.html"
        assert 'href="medical-tampered.html"' in index.read_text()
        assert "Loading runs a payload" in (out / "medical-tampered.html").read_text()

    def test_an_audit_that_cannot_be_done_ends_the_demo_with_two(self, script, tmp_path, capsys, monkeypatch):
        demo = script("demo.py")
        monkeypatch.setattr(demo, "train", lambda out, console: True)
        assert demo.main(tmp_path) == 2
        assert "modelward.toml: cannot be read" in capsys.readouterr().err

    def test_a_training_that_fails_ends_the_demo_with_two(self, script, tmp_path, monkeypatch):
        demo = script("demo.py")
        monkeypatch.setattr(demo, "train", lambda out, console: False)
        assert demo.main(tmp_path) == 2

    def test_names_and_sentences_are_fit_for_a_page(self, script):
        audits = script("demo.py").AUDITS
        assert len({item.name for item in audits}) == len(audits)
        assert all(json.dumps(item.about).isascii() and item.about.endswith(".") for item in audits)


class TestText:
    def test_a_second_training_gives_the_same_messages_and_the_same_answers(self, trained, retrained):
        import skops.io

        first, second = trained / "text", retrained / "text"
        for name in ("train.csv", "test.csv"):
            assert file_digest(second / name) == file_digest(first / name), name
        texts = (first / "test.csv").read_text().splitlines()[1:100]
        models = [skops.io.load(folder / "words.skops") for folder in (first, second)]
        assert np.array_equal(*[model.predict_proba(texts) for model in models])

    def test_no_word_alone_decides(self, script):
        messages = script("text/generate.py").generate(4000, seed=1)
        assert (messages.label == "spam").mean() == pytest.approx(0.2, abs=0.02)
        for word in ("free", "call", "camera", "tickets", "reply"):
            holds = messages[messages.text.str.contains(word)]
            assert 0.02 < (holds.label == "spam").mean() < 0.98, word

    def test_other_messages_can_be_given(self, script, tmp_path):
        rows = [f"{'win a prize' if i % 3 else 'NA'} {i},{'spam' if i % 3 else 'ham'}" for i in range(60)]
        (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]))
        script("text/train.py").main(tmp_path / "out", tmp_path / "own.csv")
        lines = (tmp_path / "out" / "train.csv").read_text().splitlines()
        assert len(lines) == 31
        assert any(line.startswith("NA ") for line in lines)

    def test_five_edits_do_what_one_does_not(self, audited):
        result = audited("text/modelward.toml")
        one, five = (claim(result, "robust-accuracy", eps=eps).bracket.upper for eps in (1.0, 5.0))
        assert one >= 0.9
        assert five < one


class TestRecommender:
    def test_a_second_run_invents_the_same_ratings(self, trained, retrained):
        for name in ("ratings.csv", "errors.txt"):
            assert file_digest(retrained / "recommender" / name) == file_digest(
                trained / "recommender" / name
            )

    def test_it_knows_more_than_the_films_means(self, trained):
        lines = (trained / "recommender" / "errors.txt").read_text().splitlines()
        errors = {name: float(value) for name, value in (line.split() for line in lines)}
        assert errors["recommender"] < 0.8 * errors["means"]

    def test_invented_users_move_films_both_ways_and_are_visible(self, audited):
        result = audited("recommender/modelward.toml")
        for goal in ("push", "nuke"):
            found = claim(result, "recommender-shift", goal=goal)
            assert found.interval.lower > 0.05
            assert "simple statistics tell them from real users" in found.note

    def test_ratings_are_of_the_scale_and_every_user_rates_a_few(self, script):
        ratings = script("recommender/generate.py").generate(50, 40, seed=2)
        assert set(ratings.rating) == {1, 2, 3, 4, 5}
        assert not ratings.duplicated(["user", "item"]).any()
        assert ratings.groupby("user").size().between(8, 20).all()
