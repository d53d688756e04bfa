from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.policy import Policy, Threshold
from modelward.errors import ConfigInvalid, FileMissing, ModelwardError, OutputUnwritable, PolicyInvalid
from modelward.verbs.config import read_config, read_policy
from modelward.verbs.init import init

WHOLE = """
[model]
path = "net.pt"
factory = "model:build"
outputs = "logits"
classes = ["a", "b"]
[data]
path = "x.npy,y.npy"
train = "train.csv"
label = "y"
sensitive = ["sex"]
immutable = ["sex", "age"]
bounds = [0, 16]
[audit]
checks = ["evasion"]
norm = ["linf"]
eps = [0.1, 0.2]
limit = 50
budget = "60s"
seed = 3
[policy]
max-severity = "low"
required-checks = ["quality"]
[[policy.require]]
claim = "accuracy"
at-least = 0.9
scope = { norm = "linf" }
"""


def write(folder, text, name="modelward.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path):
    plan = read_config(write(tmp_path, WHOLE))
    options = plan.options
    assert plan.model == tmp_path / "net.pt"
    assert plan.data == f"{tmp_path / 'x.npy'},{tmp_path / 'y.npy'}"
    assert options.train == str(tmp_path / "train.csv")
    assert (options.factory, options.outputs, options.classes) == ("model:build", "logits", ("a", "b"))
    assert (options.label, options.sensitive, options.immutable) == ("y", ("sex",), ("sex", "age"))
    assert (options.bounds, options.checks, options.norm, options.eps) == (
        (0, 16),
        ("evasion",),
        ("linf",),
        (0.1, 0.2),
    )
    assert (options.limit, options.budget, options.seed) == (50, "60s", 3)
    assert options.store == tmp_path / ".modelward"
    assert options.policy == Policy(
        max_severity="low",
        required_checks=("quality",),
        require=(Threshold(claim="accuracy", at_least=0.9, scope={"norm": "linf"}),),
    )


def test_an_empty_file_is_all_defaults(tmp_path):
    plan = read_config(write(tmp_path, ""))
    assert plan.model is None
    assert plan.options.policy is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[model]\npth = 'x'", r"unknown key 'pth' in \[model\]; did you mean 'path'"),
        ("[modle]\npath = 'x'", r"unknown key 'modle'; did you mean 'model'"),
        ("[data]\nlable = 'x'", "did you mean 'label'"),
        ("[audit]\nzzz = 1", "known: checks, norm, eps"),
        ("[policy]\nmax_severity = 'low'", "did you mean 'max-severity'"),
        ("[[policy.require]]\nclaim = 'accuracy'\natleast = 1", "did you mean 'at-least'"),
        ("[audit]\nnorm = ['l3']", "l3"),
        ("[audit]\npreset = 'hard'", "hard"),
        ("[audit]\nseed = 'x'", "int"),
        ("[data]\nbounds = [1]", "length"),
        ("[policy]\nmax-severity = 'awful'", "awful"),
        ("not toml", "is not TOML"),
        (f"a = {'1' * 5000}", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, sentence):
    with pytest.raises(ConfigInvalid, match=sentence):
        read_config(write(tmp_path, text))


@given(st.text(max_size=60))
@settings(max_examples=60)
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("c") / "f.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (read_config, read_policy):
        try:
            read(path)
        except ModelwardError:
            continue


def test_policies_from_both_kinds_of_file(tmp_path):
    alone = write(tmp_path, 'max-severity = "low"', "p.toml")
    assert read_policy(alone).max_severity == "low"
    assert read_policy(write(tmp_path, WHOLE)).required_checks == ("quality",)
    with pytest.raises(PolicyInvalid, match="no table"):
        read_policy(write(tmp_path, "[model]\npath = 'x'"))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileMissing):
        read_config(tmp_path / "none.toml")


def test_init_writes_what_it_finds_and_what_it_writes_is_valid(tmp_path):
    numpy = pytest.importorskip("numpy")
    numpy.savez(tmp_path / "test.npz", x=numpy.zeros((3, 2)), y=numpy.arange(3))
    numpy.savez(tmp_path / "a_train.npz", x=numpy.zeros((3, 2)), y=numpy.arange(3))
    import pickle

    (tmp_path / 'odd "name".pkl').write_bytes(pickle.dumps([1]))
    (tmp_path / "notes.txt").write_text("nothing")
    path, found = init(tmp_path)
    plan = read_config(path)
    assert plan.model.name == 'odd "name".pkl'
    assert Path(plan.data).name == "test.npz"
    assert len(found) == 3
    with pytest.raises(ConfigInvalid, match="there already"):
        init(tmp_path)
    init(tmp_path, overwrite=True)


def test_init_in_an_empty_folder_is_valid_too(tmp_path):
    path, found = init(tmp_path)
    assert found == []
    assert read_config(path).model is None


def test_every_commented_key_of_the_template_is_known(tmp_path):
    path, _ = init(tmp_path)
    lines = [line.removeprefix("# ") for line in path.read_text().splitlines()]
    body = "\n".join(
        line
        for line in lines
        if line.startswith("[") or ("=" in line.split("#")[0] and not line.startswith("Every"))
    )
    read_config(write(tmp_path, body, "uncommented.toml"))


def test_init_where_nothing_can_be_written(tmp_path):
    with pytest.raises(FileMissing):
        init(tmp_path / "none")
    (tmp_path / "modelward.toml").mkdir()
    with pytest.raises(OutputUnwritable):
        init(tmp_path, overwrite=True)
