"""CatBoost's documents: as the format's rules say, as CatBoost itself answers, and as an audit opens them."""

from __future__ import annotations

import json
import random as stdlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.examine import examine
from modelward.adapters.loading import load_runtime
from modelward.adapters.opening import ModelOptions, open_file
from modelward.adapters.runtime import RuntimeSpec
from modelward.adapters.runtimes.catboost_file import CatBoostRuntime, load
from modelward.adapters.trees import catboost_trees
from modelward.adapters.trees.catboost_trees import parsed
from modelward.adapters.trees.faithful import linked
from modelward.core.model import TreeEnsemble
from modelward.errors import (
    FileDamaged,
    FormatUnknown,
    InputError,
    ModelRaised,
    OperatorUnsupported,
    ShapeMismatch,
)
from modelward.numeric.forests import raw_scores

SEEDS = st.integers(0, 2**32)
NANS = st.lists(st.sampled_from(["AsIs", "AsFalse", "AsTrue"]), min_size=3, max_size=3)
LOSSES = {"Logloss": 1, "CrossEntropy": 1, "Focal": 1, "MultiClass": 3, "MultiClassOneVsAll": 3}
COMMON = {"depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
STUMP = ([0.5], [-1.0, 1.0])


def written(trees, *, scale=1.0, bias=(0.0,), flat=(0, 2, 1), nan=("AsIs",) * 3, loss="Logloss", **changes):
    """Trees as (borders of features 0, 1, ... in turn, leaf values)."""
    asked = [{b for borders, _ in trees for b in borders[i :: len(flat)]} for i in range(len(flat))]
    features = [
        {
            "borders": sorted(float(np.float32(b)) for b in borders),
            "feature_id": "",
            "feature_index": i,
            "flat_feature_index": at,
            "has_nans": how != "AsIs",
            "nan_value_treatment": how,
        }
        for i, (at, how, borders) in enumerate(zip(flat, nan, asked, strict=False))
    ]
    places = [(i, b) for i, feature in enumerate(features) for b in feature["borders"]]
    oblivious = []
    for borders, values in trees:
        splits = []
        for i, border in enumerate(borders):
            asks = i % len(flat)
            place = places.index((asks, float(np.float32(border))))
            splits.append(
                {
                    "border": border,
                    "float_feature_index": asks,
                    "split_index": place,
                    "split_type": "FloatFeature",
                }
            )
        weights = [1.0] * (1 << len(borders))
        oblivious.append({"leaf_values": values, "leaf_weights": weights, "splits": splits})
    document = {
        "features_info": {"float_features": features},
        "model_info": {"params": {"loss_function": {"type": loss, "params": {}}}},
        "oblivious_trees": oblivious,
        "scale_and_bias": [scale, list(bias)],
    }
    return json.dumps(document | changes).encode()


def grown(random, scores):
    """Three random trees and their borders, float32 as CatBoost keeps them."""
    trees = []
    for _ in range(3):
        depth = int(random.integers(0, 5))
        borders = random.normal(size=depth).astype(np.float32).astype(float).tolist()
        trees.append((borders, random.normal(size=scores << depth).tolist()))
    return trees, [b for borders, _ in trees for b in borders]


def opened(path, x, y, **stated):
    data = from_arrays(x, y, name="d", options=DataOptions())
    return open_file(path, examine(path), data, None, ModelOptions(**stated))


def saved(model, path):
    model.save_model(str(path), format="json")
    return path


@pytest.fixture
def catboost():
    return pytest.importorskip("catboost", reason="catboost is not installed")


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, scores=st.sampled_from([1, 3]), nan=NANS)
def test_bit_by_bit(near, seed, scores, nan):
    random = np.random.default_rng(seed)
    trees, borders = grown(random, scores)
    bias, flat = random.normal(size=scores), (0, 2, 1)
    forest = catboost_trees.read(written(trees, scale=0.75, bias=bias, nan=nan))
    x = near(random, borders)
    expected = np.zeros((len(x), max(2, scores)))
    for row, out in zip(x, expected, strict=True):
        out[-scores:] = bias
        for asked, values in trees:
            leaf = 0
            for bit, border in enumerate(asked):
                value = np.float32(row[flat[bit % 3]])
                above = nan[bit % 3] == "AsTrue" if np.isnan(value) else value > np.float32(border)
                leaf |= int(above) << bit
            out[-scores:] += 0.75 * np.array(values[leaf * scores : (leaf + 1) * scores])
    np.testing.assert_allclose(raw_scores(forest, x), expected, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(4))
def test_the_runtime_answers_as_catboost_does(catboost, tmp_path, capfd, near, *, loss, seed):
    """On borders, beside them in float32 and float64, missing and infinite, with every treatment of gaps."""
    random = np.random.default_rng(seed)
    trees, borders = grown(random, LOSSES[loss])
    nan = random.choice(["AsIs", "AsFalse", "AsTrue"], 3).tolist()
    bias = random.normal(size=LOSSES[loss])
    document = written(trees, scale=1.5, bias=bias, flat=(0, 1, 2), nan=nan, loss=loss)
    path = tmp_path / "model.json"
    path.write_bytes(document)
    model = catboost.CatBoost()
    model.load_model(str(path), format="json")
    capfd.readouterr()  # it complains of parameters that random documents lack
    runtime = CatBoostRuntime(parsed(document))
    for x in (near(random, borders, 200), near(random, borders, 200).astype(np.float32)):
        expected = model.predict(x, prediction_type="Probability")
        np.testing.assert_allclose(runtime.raw(x), expected, rtol=0, atol=1e-15)
        clear = np.abs(np.diff(np.sort(expected, axis=1)[:, -2:], axis=1))[:, 0] > 1e-12
        forest = runtime.forest()
        decided = raw_scores(forest, x.astype(np.float64)).argmax(axis=1)
        assert (decided == expected.argmax(axis=1))[clear].all()


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        ("Logloss", [0, 1]),
        ("Logloss", [False, True]),
        ("Logloss", ["no", "yes"]),
        ("MultiClass", ["a", "b", "c"]),
        ("MultiClass", [3, 5, 8]),
        ("MultiClassOneVsAll", [0, 1, 2]),
    ],
)
def test_files_of_fitted_models(catboost, tmp_path, table, gaps, *, loss, labels):
    y = np.array(labels)[table[1] if len(labels) == 2 else table[2]]
    model = catboost.CatBoostClassifier(iterations=20, loss_function=loss, **COMMON).fit(gaps, y)
    found = opened(saved(model, tmp_path / "m.json"), gaps, y.astype(str))
    assert found.model.outputs.classes == tuple(map(str, labels))
    assert isinstance(found.model, TreeEnsemble), found.absent
    np.testing.assert_allclose(found.model.scores(found.data.x), model.predict_proba(gaps), atol=1e-15)
    assert found.model.subject.format == "catboost-json"
    assert found.model.subject.details["takes_missing"] is True
    raw = raw_scores(found.model.forest(), found.data.x)
    np.testing.assert_allclose(
        linked(raw, found.model.forest(), "probabilities"), model.predict_proba(gaps), atol=1e-14
    )


def test_names_of_features_order_the_columns(catboost, tmp_path, table):
    pandas = pytest.importorskip("pandas")
    x, y, _ = table
    frame = pandas.DataFrame(x, columns=list("edcba"))
    path = saved(catboost.CatBoostClassifier(iterations=5, **COMMON).fit(frame, y), tmp_path / "m.json")
    runtime = load_runtime(RuntimeSpec(path=str(path), format="catboost-json", digest=""))
    assert runtime.facts.features == tuple("edcba")
    assert runtime.facts.n_features == 5
    assert runtime.facts.classes == ("0", "1")


def test_the_sandboxed_copy_answers_faults_as_the_model_does(catboost, tmp_path, table):
    x, y, _ = table
    path = saved(catboost.CatBoostClassifier(iterations=5, **COMMON).fit(x, y), tmp_path / "m.json")
    found = opened(path, x, y.astype(str))
    with found.model.probe(10.0) as probe:
        answer = probe.ask(np.full((1, 5), np.inf))
        assert (answer.kind, answer.finite) == ("answered", True)
        assert probe.ask(np.zeros((2, 4))).kind == "raised"
        assert probe.ask(np.array([["text"] * 5])).kind == "raised"


def test_a_batch_of_any_size_is_answered_alike(near):
    random = np.random.default_rng(5)
    trees, borders = grown(random, 1)
    runtime = CatBoostRuntime(parsed(written(trees)))
    x = near(random, borders, 50)
    whole = runtime.raw(x)
    np.testing.assert_array_equal(np.concatenate([runtime.raw(row[None]) for row in x]), whole)
    assert runtime.raw(x[:0]).shape == (0, 2)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0)


def test_scores_that_are_large_give_certain_probabilities_without_overflow():
    leaves = [-800.0, 800.0]
    answer = CatBoostRuntime(parsed(written([([0.0], leaves)]))).raw(np.array([[-1.0, 0, 0], [1.0, 0, 0]]))
    assert answer.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    many = written([([0.0], [-800.0, 0, 800, 800, 0, -800])], bias=(0.0,) * 3, loss="MultiClass")
    answer = CatBoostRuntime(parsed(many)).raw(np.array([[-1.0, 0, 0], [1.0, 0, 0]]))
    assert answer.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1)])
def test_rows_of_another_width_are_refused(shape):
    with pytest.raises(ModelRaised, match="rows of 3 numbers"):
        CatBoostRuntime(parsed(written([STUMP]))).raw(np.zeros(shape))


def test_what_is_no_classifier_says_so(catboost, tmp_path, table):
    x, y, _ = table
    for loss in ("RMSE", "Poisson"):
        with pytest.raises(ShapeMismatch, match="no classification"):
            CatBoostRuntime(parsed(written([STUMP], loss=loss)))
    path = saved(catboost.CatBoostRegressor(iterations=2, **COMMON).fit(x, y), tmp_path / "r.json")
    with pytest.raises(ShapeMismatch, match="'RMSE' is no classification"):
        opened(path, x, y.astype(str))
    native = tmp_path / "m.cbm"
    catboost.CatBoostClassifier(iterations=2, **COMMON).fit(x, y).save_model(str(native))
    with pytest.raises(FormatUnknown, match="catboost is not a model") as refused:
        opened(native, x, y.astype(str))
    assert 'format="json"' in refused.value.advice


def test_losses_and_scores_that_do_not_go_together():
    for loss, bias in (("Logloss", (0.0, 0.0)), ("MultiClass", (0.0,))):
        values = [0.5] * (len(bias) << 1)
        with pytest.raises(FileDamaged, match="does not go with"):
            CatBoostRuntime(parsed(written([([0.5], values)], bias=bias, loss=loss)))


@pytest.mark.parametrize("kind", ["categorical_features", "text_features", "embedding_features"])
def test_more_than_numbers_is_declined(kind):
    info = {"float_features": [], kind: [{"feature_index": 0}]}
    with pytest.raises(OperatorUnsupported, match="CTR"):
        parsed(written([STUMP], features_info=info))


def test_real_models_that_are_declined(catboost, table, tmp_path):
    pandas = pytest.importorskip("pandas")
    x, y, _ = table
    deep = catboost.CatBoostClassifier(grow_policy="Lossguide", iterations=3, **COMMON).fit(x, y)
    with pytest.raises(OperatorUnsupported, match="grow_policy"):
        catboost_trees.from_object(deep)
    with pytest.raises(OperatorUnsupported, match="grow_policy"):
        opened(saved(deep, tmp_path / "deep.json"), x, y.astype(str))
    frame = pandas.DataFrame({"a": x[:, 0], "k": x[:, 3].astype(int).astype(str)})
    coded = catboost.CatBoostClassifier(cat_features=["k"], iterations=3, **COMMON).fit(frame, y)
    path = tmp_path / "c.json"
    coded.save_model(str(path), format="json", pool=catboost.Pool(frame, y, cat_features=["k"]))
    with pytest.raises(OperatorUnsupported, match="CTR"):
        catboost_trees.read(path.read_bytes())
    assert examine(path).report.verdict == "inert"


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (written([([], [])], bias=()), "no bias"),
        (written([STUMP], flat=[-1]), "below 0"),
        (written([STUMP], flat=[1, 1, 2]), "twice"),
        (written([([0.5], [1.0])]), "do not fit"),
        (written([([0.5] * 17, [1.0])]), "do not fit"),
        (written([]), "no trees"),
        (written([STUMP], model_info={"class_params": {"class_names": [[]]}}), "cannot be read"),
        (written([STUMP], scale_and_bias=[1.0]), "cannot be read"),
        (written([STUMP], scale_and_bias=[1.0, 0.0]), "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"features_info": ' + b'{"a":' * 100_000, "cannot be read"),
        (written([STUMP]).replace(b"-1.0", b"1e999"), "cannot be read|infinity"),
    ],
)
def test_documents_that_lie(document, match):
    with pytest.raises(FileDamaged, match=match):
        parsed(document)


def test_a_feature_far_away_is_refused_before_memory_is_asked_for():
    with pytest.raises(OperatorUnsupported, match="1000000000 features") as refused:
        parsed(written([STUMP], flat=[999_999_999]))
    assert refused.value.advice == "Train on fewer features."


def with_split(**changes):
    document = json.loads(written([STUMP]))
    document["oblivious_trees"][0]["splits"][0] |= changes
    return json.dumps(document).encode()


def test_splits_of_what_is_not_there_are_damage_and_splits_of_categories_are_declined():
    for index in (9, -1, 3):
        with pytest.raises(FileDamaged, match=f"a CatBoost split asks feature {index}, which"):
            parsed(with_split(float_feature_index=index))
    for kind in ("OneHotFeature", "OnlineCtr"):
        with pytest.raises(OperatorUnsupported, match="more than numbers") as refused:
            parsed(with_split(split_type=kind))
        assert "encode the categories" in refused.value.advice


@pytest.mark.parametrize("word", ["Weird", "asis", "", 1, None])
def test_a_treatment_of_gaps_that_does_not_exist(word):
    with pytest.raises(FileDamaged, match="cannot be read"):
        parsed(written([STUMP], nan=(word, "AsIs", "AsIs")))


LARGE = 1e308


@pytest.mark.parametrize(
    "document",
    [
        written([([0.5], [-LARGE, LARGE]), ([0.6], [-LARGE, LARGE])]),
        written([([0.5], [-LARGE, LARGE]), ([0.6], [-LARGE, LARGE])], scale=1e-9),
        written([STUMP], scale=LARGE, bias=(LARGE,)),
        written([([0.5], [-1e200, 0.0])], scale=-1e200),
        written([([0.5], [-LARGE, 0, LARGE, 0.0, 0.0, 0.0])], bias=(0.0,) * 3, loss="MultiClass"),
    ],
)
def test_scores_beyond_double_precision_are_damage_and_nothing_is_warned_of(document):
    with pytest.raises(FileDamaged, match="beyond double precision"):
        parsed(document)


def test_scores_that_just_fit_are_answered_without_a_warning():
    huge = written([([0.5], [-4e307, 0, 4e307, 4e307, 0.0, 0.0])], bias=(0.0,) * 3, loss="MultiClass")
    answer = CatBoostRuntime(parsed(huge)).raw(np.array([[0.0, 0, 0], [1.0, 0, 0]]))
    assert answer.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def info(loss="Logloss", **more):
    return {"params": {"loss_function": {"type": loss}}, **more}


@pytest.mark.parametrize("absent", [{}, {"params": {}}, {"params": {"loss_function": {}}}])
def test_a_document_without_its_loss_says_how_to_write_one_that_has_it(absent):
    with pytest.raises(FileDamaged, match="does not say its loss") as refused:
        CatBoostRuntime(parsed(written([STUMP], model_info=absent)))
    assert 'save_model(path, format="json")' in refused.value.advice


@pytest.mark.parametrize("threshold", ["0.9", "0.1", 0.9, "0.50000001", "1", 0])
def test_a_threshold_is_refused_and_the_advice_says_what_decides_alike(threshold):
    document = written([STUMP], model_info=info(binclass_probability_threshold=threshold))
    with pytest.raises(
        OperatorUnsupported, match=r"threshold of (0\.[19]|0\.50000001|[01]\.0), and"
    ) as refused:
        parsed(document)
    assert "set_scale_and_bias" in refused.value.advice
    assert "Gradient" not in refused.value.advice


@pytest.mark.parametrize("threshold", ["half", "nan", "", "inf"])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(FileDamaged, match="threshold"):
        parsed(written([STUMP], model_info=info(binclass_probability_threshold=threshold)))


@pytest.mark.parametrize("threshold", ["0.5", "0.50", 0.5, "5e-1"])
def test_the_threshold_that_every_model_has_is_read(threshold):
    document = written([STUMP], model_info=info(binclass_probability_threshold=threshold))
    assert parsed(document).loss == "Logloss"


def test_thresholds_of_real_models(catboost, tmp_path, table, live):
    """Files and live objects are refused, and what the advice names decides alike."""
    x, y, _ = table
    model = catboost.CatBoostClassifier(iterations=10, **COMMON).fit(x, y)
    assert live(model, x, y).model.outputs.classes == ("0", "1")
    model.set_probability_threshold(0.8)
    decided = np.asarray(model.predict(x)).ravel()
    for ask in (
        lambda: opened(saved(model, tmp_path / "m.json"), x, y.astype(str)),
        lambda: live(model, x, y),
        lambda: catboost_trees.from_object(model),
    ):
        with pytest.raises(OperatorUnsupported, match=r"threshold of 0\.8, and"):
            ask()
    scale, bias = model.get_scale_and_bias()
    model.set_scale_and_bias(scale, bias - np.log(0.8 / (1 - 0.8)))
    model.set_probability_threshold(0.5)
    found = opened(saved(model, tmp_path / "m.json"), x, y.astype(str))
    assert (found.model.scores(x).argmax(axis=1) == decided).all()
    assert 0 < decided.mean() < y.mean()


def test_a_threshold_behind_steps_of_a_pipeline(catboost, table, live):
    pipeline, scaling = pytest.importorskip("sklearn.pipeline"), pytest.importorskip("sklearn.preprocessing")
    x, y, _ = table
    model = catboost.CatBoostClassifier(iterations=3, **COMMON)
    steps = pipeline.Pipeline([("scale", scaling.StandardScaler()), ("model", model)]).fit(x, y)
    assert live(steps, x, y).model.outputs.classes == ("0", "1")
    model.set_probability_threshold(0.25)
    with pytest.raises(OperatorUnsupported, match=r"threshold of 0\.25, and"):
        live(steps, x, y)


def many(**classes):
    stated = info("MultiClass", class_params=classes)
    return written([([0.5], [0.0] * 6)], bias=(0.0,) * 3, loss="MultiClass", model_info=stated)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({"class_names": [0, 1, 2, 3, 4], "class_to_label": [0, 2, 4]}, ("0", "2", "4")),
        ({"class_names": list("edcba"), "class_to_label": [0.0, 2.0, 4.0]}, ("e", "c", "a")),
        ({"class_names": list("abc"), "class_to_label": [0, 1, 2]}, ("a", "b", "c")),
        ({"class_names": list("abc"), "class_to_label": [2, 1, 0]}, ("c", "b", "a")),
        ({"class_names": list("abc")}, ("a", "b", "c")),
        ({"class_names": [], "class_to_label": [3, 5, 8]}, ("3", "5", "8")),
        ({}, ()),
    ],
)
def test_which_names_the_scores_have(classes, expected):
    assert parsed(many(**classes)).classes == expected


@pytest.mark.parametrize(
    "classes",
    [
        {"class_names": list("abcde")},
        {"class_names": list("abcde"), "class_to_label": [0, 1]},
        {"class_names": list("abcde"), "class_to_label": [0, 1, 5]},
        {"class_names": list("abcde"), "class_to_label": [0, 1, -1]},
        {"class_names": list("abcde"), "class_to_label": [0, 1, 1.5]},
        {"class_names": list("abcde"), "class_to_label": [0, 1, "2"]},
        {"class_names": list("abcde"), "class_to_label": [0, 1, 1e300]},
        {"class_names": ["a"]},
        {"class_to_label": [0, 1]},
    ],
)
def test_names_that_cannot_be_given_to_scores(classes):
    with pytest.raises(OperatorUnsupported, match="3 scores") as refused:
        parsed(many(**classes))
    assert "class_names" in refused.value.advice


@pytest.mark.parametrize("classes", [["x", "x", "y"], [1, 1.0, 2], [1, "1", 2], ["", "", ""]])
def test_two_classes_of_one_name_are_damage(classes):
    with pytest.raises(FileDamaged, match="names two classes"):
        parsed(many(class_names=classes))


def test_columns_of_one_name_have_none():
    document = json.loads(written([STUMP]))
    for feature, name in zip(document["features_info"]["float_features"], "aab", strict=True):
        feature["feature_id"] = name
    assert parsed(json.dumps(document).encode()).names is None
    document["features_info"]["float_features"][0]["feature_id"] = "c"
    assert parsed(json.dumps(document).encode()).names == ("c", "b", "a")


def test_classes_that_the_training_data_lacks(catboost, tmp_path, table):
    """CatBoost writes five names and three scores, and says which is which."""
    x, _, y = table
    model = catboost.CatBoostClassifier(iterations=5, class_names=[0, 1, 2, 3, 4], **COMMON).fit(x, 2 * y)
    found = opened(saved(model, tmp_path / "m.json"), x, (2 * y).astype(str))
    assert found.model.outputs.classes == ("0", "2", "4")
    expected = model.predict_proba(x)[:, [0, 2, 4]]
    np.testing.assert_allclose(found.model.scores(x), expected, atol=1e-15)


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_mutated_documents_never_surprise(tmp_path_factory, seed):
    """An answer or an error of ours, in one sentence; never anything else."""
    random = stdlib.Random(seed)
    raw = bytearray(written([STUMP, ([0.1, 0.2], [1.0, 2.0, 3.0, 4.0])]))
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(raw))
        new = random.choice([b"", b"9", b"-", b"[", b"null", b"1e300", b'"', bytes([random.randrange(256)])])
        raw[at : at + random.choice((0, 1, 1, 5))] = new
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_bytes(raw)
    try:
        runtime = load(RuntimeSpec(path=str(path), format="catboost-json", digest=""))
        width = runtime.facts.n_features
        assert runtime.raw(np.zeros((2, width))).shape == (2, 2)
        runtime.forest()
    except (InputError, OperatorUnsupported) as error:
        assert len(str(error)) < 500  # noqa: PT017  (which errors may come is what is tested)
        assert "\n" not in str(error)  # noqa: PT017  (likewise)


def test_a_border_beyond_float32_lets_nothing_above():
    document = json.loads(written([([1.0], [-1.0, 1.0])]))
    document["oblivious_trees"][0]["splits"][0]["border"] = 1e300
    model = parsed(json.dumps(document).encode())
    x = np.array([[1e308, 0, 0], [-1e308, 0, 0]])
    assert raw_scores(model.forest(), x)[:, 1].tolist() == [-1.0, -1.0]
    assert (CatBoostRuntime(model).raw(x)[:, 1] < 0.5).all()


def test_one_against_all_has_a_logistic_function_per_class():
    trees = [([0.0], [1.0, -1.0, 0.5, 0.0, 2.0, -2.0])]
    forest = catboost_trees.read(written(trees, bias=(0.0,) * 3, loss="MultiClassOneVsAll"))
    x = np.array([[-1.0, 0, 0], [1.0, 0, 0]])
    expected = 1 / (1 + np.exp(-np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -2.0]])))
    np.testing.assert_allclose(linked(raw_scores(forest, x), forest, "probabilities"), expected)
    # Other places of the document may name the loss as well, as a metric.
    named = json.loads(written(trees, bias=(0.0,) * 3, loss="MultiClass"))
    named["model_info"]["params"]["metrics"] = {"eval_metric": {"type": "MultiClassOneVsAll"}}
    assert catboost_trees.read(json.dumps(named).encode()).link == "softmax"


def test_a_document_larger_than_any_is_not_read(tmp_path):
    path = tmp_path / "m.json"
    with path.open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    with pytest.raises(FileDamaged, match="up to 1073741824 bytes"):
        load(RuntimeSpec(path=str(path), format="catboost-json", digest=""))
