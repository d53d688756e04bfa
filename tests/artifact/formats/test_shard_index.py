import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats.shard_index import read
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect, inspect_bytes


def index(*names):
    return json.dumps(
        {"metadata": {}, "weight_map": {f"w{i}": name for i, name in enumerate(names)}}
    ).encode()


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "pytorch_model.bin.index.fp16.json"])
@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        (("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), "inert"),
        (("part/a.bin",), "inert"),
        (("../../a.bin",), "dangerous"),
        (("/etc/passwd",), "dangerous"),
        (("a.bin", "C:\\x.bin"), "dangerous"),
        (("https://example.net/a.bin",), "dangerous"),
    ],
)
def test_files_stay_in_the_folder(name, files, verdict):
    report = inspect_bytes(index(*files), name)
    assert (report.format, report.verdict) == ("shard-index", verdict)
    assert report.facts["tensors"] == len(files)


def test_what_is_no_list_is_unproven():
    assert inspect_bytes(b'{"weight_map": [1]}', "model.safetensors.index.json").verdict == "unproven"


@given(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(index)))
def test_any_bytes_are_read(data):
    with contextlib.suppress(Malformed, Exhausted):
        read(data, Reading())


def test_the_handler_of_an_endpoint(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    handler = tmp_path / "handler.py"
    handler.write_text("class EndpointHandler:\n    def __call__(self, data):\n        return data\n")
    assert inspect(tmp_path / "config.json").verdict == "inert"
    handler.write_text("import os\nos.system('true')\n\n\nclass EndpointHandler:\n    pass\n")
    assert inspect(tmp_path / "config.json").verdict == "dangerous"


def test_custom_generate_is_code_of_the_repository(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    assert inspect(tmp_path / "config.json").verdict == "inert"
    (tmp_path / "custom_generate").mkdir()
    program = tmp_path / "custom_generate" / "generate.py"
    program.write_text("def generate(model, **kwargs):\n    return model.generate(**kwargs)\n")
    assert inspect(tmp_path / "config.json").verdict == "unproven"
    program.write_text("import os\nos.system('true')\n")
    assert inspect(tmp_path / "config.json").verdict == "dangerous"
