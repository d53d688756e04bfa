import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats.triton import read
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect, inspect_bytes

GOOD = """\
name: "resnet"
backend: "onnxruntime"
default_model_filename: "model.onnx"
# backend: "python"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] } ]
parameters: { key: "tokenizer_dir" value: { string_value: "/srv/models/tokenizer" } }
"""


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("", "inert"),
        ('platform: "pytorch_libtorch"', "inert"),
        ('backend: ""', "inert"),
        ('x_backend: "python"', "inert"),
        ('backend: "python"', "unproven"),
        ("backend:'python'", "unproven"),
        ('backend: "our_own"', "unproven"),
        ('default_model_filename: "../../x/model.onnx"', "dangerous"),
        ('default_model_filename: "/x/model.onnx"', "dangerous"),
        ('runtime: "../evil.so"', "dangerous"),
        ('backend: "../../evil"', "dangerous"),
        ('model_operations { op_library_filename: "ops.so" }', "unproven"),
        ('model_operations { op_library_filename: [ "/tmp/evil.so" ] }', "dangerous"),
        ('parameters: { key: "EXECUTION_ENV_PATH" value: { string_value: "../../env" } }', "unproven"),
    ],
)
def test_each_line(line, verdict):
    report = inspect_bytes(f'name: "m"\n{line}\n'.encode(), "m/config.pbtxt")
    assert (report.format, report.verdict) == ("triton", verdict)


def test_an_ordinary_configuration():
    report = inspect_bytes(GOOD.encode(), "config.pbtxt")
    assert (report.verdict, report.findings) == ("inert", ())


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("import os\nos.system('true')\n", "dangerous"),
        ("class TritonPythonModel:\n    def execute(self, requests):\n        return []\n", "unproven"),
    ],
)
def test_the_program_beside_it_is_read(tmp_path, program, verdict):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.py").write_text(program)
    (tmp_path / "config.pbtxt").write_text('backend: "python"\n')
    report = inspect(tmp_path / "config.pbtxt")
    assert report.verdict == verdict
    assert any("1/model.py" in finding.message for finding in report.findings)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data):
    into = Reading("config.pbtxt")
    read(data, into)
    assert into.proven
