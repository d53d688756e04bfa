"""MLmodel files: the module that loads the model, the code that comes with it, the paths that it names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import mlflow
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect_bytes
from modelward.artifact.yaml import parse

SKLEARN = """artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.4
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.3.0
mlflow_version: 2.9.2
model_size_bytes: 1234
model_uuid: 0a1b
run_id: 9f
signature:
  inputs: '[{"type": "tensor"}]'
utc_time_created: '2024-01-01 00:00:00.000000'
"""
PYTORCH = """artifact_path: model
flavors:
  python_function:
    config:
      device: null
    data: data
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.pytorch
    pickle_module_name: mlflow.pytorch.pickle_module
  pytorch:
    code: null
    model_data: data
    pytorch_version: 2.1.0
mlflow_version: 2.9.2
"""
CUSTOM = """flavors:
  python_function:
    artifacts:
      weights:
        path: artifacts/weights.pt
        uri: s3://bucket/weights.pt
    cloudpickle_version: 3.0.0
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
    streamable: false
mlflow_version: 2.9.2
"""
EVIL = b"import os\nos.system('id')\n"


def scan(text, files=None, name="MLmodel"):
    return inspect_bytes(text.encode(), name, beside=(files or {}).get)


def rules(report):
    return [finding.rule for finding in report.findings]


def flavor(*lines):
    return (
        "flavors:\n  python_function:\n"
        + "".join(f"    {line}\n" for line in lines)
        + "mlflow_version: 2.9.2\n"
    )


@pytest.mark.parametrize("text", [SKLEARN, PYTORCH, CUSTOM])
@pytest.mark.parametrize("name", ["MLmodel", "model/MLmodel", "renamed.yaml"])
def test_usual_models_are_inert(text, name):
    report = scan(text, name=name)
    assert (report.format, report.verdict, report.findings) == ("mlflow", "inert", ())


def test_facts():
    facts = scan(SKLEARN).facts
    assert facts == {"framework": "sklearn", "producer": "mlflow", "format_version": "2.9.2"}
    assert scan(CUSTOM).facts["framework"] == "mlflow"


@pytest.mark.parametrize(
    "module",
    [
        "mlflow.sklearn",
        "mlflow.pyfunc.model",
        "mlflow.pyfunc.loaders.code_model",
        "mlflow.transformers",
        "mlflow",
    ],
)
def test_loaders_of_mlflow_are_inert(module):
    assert scan(flavor(f"loader_module: {module}")).verdict == "inert"


@pytest.mark.parametrize(
    "module", ["os", "subprocess", "runpy", "importlib", "pty", "torch.os", "mine.os.path"]
)
def test_loaders_that_are_payloads_are_dangerous(module):
    report = scan(flavor(f"loader_module: {module}", "data: x"))
    assert report.verdict == "dangerous"
    assert report.findings[0].call == f"{module}._load_pyfunc('x')"


@pytest.mark.parametrize("module", ["mlflow.os.system", "mlflow..x", "mlflow._x.subprocess"])
def test_names_below_mlflow_are_judged(module):
    assert scan(flavor(f"loader_module: {module}")).verdict != "inert"


def test_an_unknown_loader_is_unproven():
    report = scan(flavor("loader_module: my_loader"))
    assert report.verdict == "unproven"
    assert rules(report) == ["mlflow.loader"]


def test_a_loader_beside_the_file_is_read():
    text = flavor("loader_module: my_loader", "code: code")
    assert scan(text, {"code/my_loader.py": EVIL}).verdict == "dangerous"
    assert scan(text, {"my_loader.py": EVIL}).verdict == "dangerous"
    assert scan(text, {"code/my_loader.py": b"def _load_pyfunc(p):\n    return 1\n"}).verdict == "unproven"
    assert (
        scan(text, {"code/my_loader.py": b"import os\ndef _load_pyfunc(p):\n    os.system('id')\n"}).verdict
        == "dangerous"
    )


def test_code_that_comes_along_is_noted():
    report = scan(flavor("loader_module: mlflow.sklearn", "code: code"))
    assert report.verdict == "inert"
    assert rules(report) == ["mlflow.code"]


def test_a_model_saved_as_code_is_read():
    text = flavor("loader_module: mlflow.pyfunc.model", "model_code_path: model.py")
    assert scan(text, {"model.py": EVIL}).verdict == "dangerous"
    assert scan(text, {"model.py": b"import mlflow\nmlflow.models.set_model(M())\n"}).verdict == "inert"
    assert scan(text, {"model.py": b"eval(x)\n"}).verdict == "unproven"
    assert scan(text, {"model.py": b"print 'x'\n"}).verdict == "unproven"
    assert scan(text).verdict == "unproven"


@pytest.mark.parametrize("key", ["data", "model_path", "python_model", "model_code_path", "code"])
@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\x", "C:\\x", "~/x"])
def test_a_path_out_of_the_folder_is_dangerous(key, path):
    report = scan(flavor("loader_module: mlflow.sklearn", f"{key}: '{path}'"))
    assert report.verdict == "dangerous"
    assert "mlflow.traversal" in rules(report)


def test_paths_in_other_places():
    assert scan("artifact_path: ../../x\n" + flavor("loader_module: mlflow.sklearn")).verdict == "dangerous"
    nested = flavor(
        "loader_module: mlflow.pyfunc.model", "artifacts:", "  a:", "    path: ../../x", "    uri: u"
    )
    assert scan(nested).verdict == "dangerous"
    listed = flavor("loader_module: mlflow.sklearn", "code: [a, ../b]")
    assert scan(listed).verdict == "dangerous"


@pytest.mark.parametrize("path", ["a..b/c", "model.v1..pkl", "data", "artifacts/x.pt"])
def test_paths_within_the_folder(path):
    assert scan(flavor("loader_module: mlflow.sklearn", f"data: {path}")).verdict == "inert"


@pytest.mark.parametrize("path", ["http://x/m.pkl", "s3://b/m", "dbfs:/m"])
def test_remote_paths_are_unproven(path):
    assert scan(flavor("loader_module: mlflow.sklearn", f"data: {path}")).verdict == "unproven"


def test_tags_are_judged():
    assert (
        scan(flavor("loader_module: mlflow.sklearn", "x: !!python/object/apply:os.system [id]")).verdict
        == "dangerous"
    )


@pytest.mark.parametrize("text", ["flavors:\n  - a\n", "[1]", "flavors: 3\n", "a: 1\n", ""])
def test_what_is_no_mlmodel_is_refused(text):
    with pytest.raises(Malformed):
        mlflow.read(text.encode(), Reading("MLmodel"))


@pytest.mark.parametrize("size", range(1, len(CUSTOM), 7))
def test_truncation_is_survived(size):
    assert scan(CUSTOM[:size]).verdict in {None, "inert", "unproven"}


@given(st.text(alphabet="flavors:python_ntdi \n-[]{}!&*'\"/.", max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text):
    into = Reading("MLmodel")
    try:
        mlflow.read(("flavors:\n  a:\n    " + text).encode(), into)
    except (Malformed, Exhausted):
        return
    assert into.proven


@given(st.integers(0, len(SKLEARN) - 1), st.integers(0, 127))
@settings(max_examples=150, deadline=None)
def test_mutations_are_survived(place, byte):
    text = SKLEARN[:place] + chr(byte) + SKLEARN[place + 1 :]
    into = Reading("MLmodel")
    try:
        mlflow.read(text.encode(), into)
    except (Malformed, Exhausted):
        return
    assert not [event for event in into.events if event.level == "dangerous"] or byte in {46, 47, 92, 126, 58}


# --- the same content, written otherwise --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "b: &a {loader_module: os}\nflavors:\n  python_function:\n    <<: *a\n",
        "b: &a {data: ../../x}\nflavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    <<: [*a]\n",
        "a: &a\n  flavors: {python_function: {loader_module: os}}\n<<: *a\n",
        '{"run_id": "x", "flavors": {"python_function": {"loader_module": "os"}}}',
        '"flavors":\n  python_function:\n    loader_module: os\n',
        '"fl\\x61vors":\n  python_function:\n    loader_module: os\n',
        "#" + "x" * 70_000 + "\nflavors:\n  python_function:\n    loader_module: os\n",
        "flavors:\n  sklearn: {}\nx:\n  _target_: os.system\n",
    ],
)  # fmt: skip
def test_a_loader_is_found_however_it_is_written(text):
    assert inspect_bytes(text.encode(), "MLmodel").verdict == "dangerous"


def test_a_merged_key_does_not_replace_one_of_the_mapping():
    text = "b: &a {loader_module: os}\nflavors:\n  python_function:\n    <<: *a\n    loader_module: mlflow.sklearn\n"
    (root,) = parse(text)
    assert root.get("flavors").get("python_function").text("loader_module") == "mlflow.sklearn"


def test_merges_of_merges_stay_bounded():
    rows = [
        f"a{n}: &a{n} {{<<: [{', '.join(f'*a{m}' for m in range(max(0, n - 3), n))}], k{n}: 1}}"
        for n in range(1, 900)
    ]
    (root,) = parse("a0: &a0 {k0: 1}\n" + "\n".join(rows) + "\n")
    assert len(root.get("a899").pairs) <= 1001


@pytest.mark.parametrize(
    ("source", "level"), [("import os\nos.system('true')\n", "dangerous"), ("x = 1\n", "unproven")]
)
@pytest.mark.parametrize("path", ["code/sklearn.py", "code/mlflow/__init__.py"])
def test_a_module_that_takes_the_place_of_a_library_is_run(source, level, path):
    text = SKLEARN.replace("code: null", "code: code")
    into = Reading("MLmodel", beside={path: source.encode()}.get)
    mlflow.read(text.encode(), into)
    assert {event.level for event in into.events} - {"note"} == {level}


def test_other_modules_of_the_code_folder_run_when_something_names_them():
    into = Reading("MLmodel", beside={"code/own.py": b"import os\nos.system('true')\n"}.get)
    mlflow.read(SKLEARN.replace("code: null", "code: code").encode(), into)
    assert {event.level for event in into.events} == {"note"}
