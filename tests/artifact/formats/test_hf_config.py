"""Hugging Face configurations: the code of a repository that they bring in, and templates."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import chat_template, hf_config
from modelward.artifact.reading import Malformed, Reading
from modelward.artifact.verdict import inspect_bytes

MODEL = b"""import torch
from torch import nn
from transformers import PreTrainedModel
from .configuration_x import XConfig

class XModel(PreTrainedModel):
    config_class = XConfig
    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(config.hidden_size, 1)
    def forward(self, x):
        return self.layer(x)
"""
CONFIG = (
    b"from transformers import PretrainedConfig\nclass XConfig(PretrainedConfig):\n    model_type = 'x'\n"
)
EVIL = b"import os\nos.system('id')\n"
HIDDEN = b"import base64\nexec(base64.b64decode('aWQ='))\n"


def scan(value, name="config.json", files=None):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return inspect_bytes(data, name, beside=(files or {}).get)


def rules(report):
    return [finding.rule for finding in report.findings]


# --- usual configurations -----------------------------------------------------------------------------------

USUAL = {
    "config.json": {
        "architectures": ["BertForMaskedLM"], "hidden_size": 768, "model_type": "bert", "vocab_size": 30522,
        "transformers_version": "4.40.0", "id2label": {"0": "a"}, "torch_dtype": "float32", "_name_or_path": "bert-base",
        "quantization_config": {"bits": 4, "quant_method": "gptq"},
    },
    "tokenizer_config.json": {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "added_tokens_decoder": {"0": {"content": "<unk>"}},
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    },
    "generation_config.json": {"bos_token_id": 1, "eos_token_id": [2, 3], "transformers_version": "4.40.0"},
    "preprocessor_config.json": {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5], "size": {"height": 224}},
    "processor_config.json": {"processor_class": "LlavaProcessor", "patch_size": 14},
    "special_tokens_map.json": {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False}},
    "tokenizer.json": {
        "version": "1.0", "truncation": None, "added_tokens": [], "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
    },
    "adapter_config.json": {
        "peft_type": "LORA", "r": 8, "base_model_name_or_path": "meta/x", "task_type": "CAUSAL_LM",
        "auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama"},
    },
    "model_index.json": {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.21.0", "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "image_encoder": [None, None], "requires_safety_checker": True,
    },
    "scheduler_config.json": {"_class_name": "DDIMScheduler", "_diffusers_version": "0.21.0", "beta_end": 0.01},
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ],
    "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.2"}},
    "timm/config.json": {"architecture": "vit_base", "num_classes": 10, "pretrained_cfg": {"url": "", "mean": [0.5]}},
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.parametrize("indent", [None, 2])
def test_usual_configurations_are_inert(name, indent):
    report = scan(json.dumps(USUAL[name], indent=indent).encode(), name)
    assert (report.format, report.verdict) == ("hf-config", "inert")
    assert report.findings == ()


def test_facts_are_for_inventories():
    facts = scan(USUAL["config.json"]).facts
    assert (facts["framework"], facts["producer"], facts["format_version"]) == (
        "transformers",
        "bert",
        "4.40.0",
    )
    assert scan(USUAL["adapter_config.json"]).facts["framework"] == "peft"
    assert scan(USUAL["model_index.json"]).facts["framework"] == "diffusers"
    assert scan(USUAL["modules.json"]).facts["framework"] == "sentence-transformers"


def test_a_large_tokenizer_is_passed_over():
    vocab = {f"token{number}": number for number in range(200_000)}
    report = scan(
        dict(USUAL["tokenizer.json"], model={"type": "BPE", "vocab": vocab, "merges": []}), "tokenizer.json"
    )
    assert report.verdict == "inert"


def test_what_is_no_strict_json_is_read_as_python_reads_it():
    assert scan(b'{"model_type": "x", "architectures": ["A"], "a": NaN, "b": -Infinity}').verdict == "inert"
    assert scan(b'\xef\xbb\xbf{"model_type": "x", "architectures": ["A"]}').verdict == "inert"
    assert scan(b'{"auto_map": {"AutoModel": "m.M"}, "a": NaN}').verdict == "unproven"


# --- auto_map -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "auto_map",
    [
        {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"},
        {"AutoTokenizer": ["tokenization_x.Slow", None]},
        {"AutoTokenizer": [None, "tokenization_x.Fast"]},
        ["modeling_x.XModel"],
        "modeling_x.XModel",
    ],
)
def test_code_of_the_repository_is_unproven(auto_map):
    report = scan({"auto_map": auto_map})
    assert report.verdict == "unproven"
    assert set(rules(report)) == {"hf-config.remote-code"}
    assert "was not read" in report.findings[0].message


def test_usual_code_is_read_and_stays_unproven():
    report = scan(
        {"auto_map": {"AutoModel": "modeling_x.XModel"}},
        files={"modeling_x.py": MODEL, "configuration_x.py": CONFIG},
    )
    assert report.verdict == "unproven"
    assert "ordinary model code" in report.findings[0].message


def test_a_payload_in_the_code_is_dangerous():
    report = scan({"auto_map": {"AutoModel": "modeling_x.XModel"}}, files={"modeling_x.py": EVIL})
    assert report.verdict == "dangerous"
    assert report.findings[0].call == "os.system('id')"
    assert "modeling_x.py, line 2" in report.findings[0].message


def test_a_payload_in_a_module_that_the_code_imports_is_dangerous():
    files = {"modeling_x.py": MODEL, "configuration_x.py": HIDDEN}
    assert scan({"auto_map": {"AutoModel": "modeling_x.XModel"}}, files=files).verdict == "dangerous"


def test_modules_that_import_each_other_end():
    files = {"a.py": b"from .b import x\n", "b.py": b"from .a import y\n"}
    assert scan({"auto_map": {"AutoModel": "a.M"}}, files=files).verdict == "unproven"


def test_modules_in_folders_are_found():
    files = {"sub/a.py": b"from .b import x\n", "sub/b.py": EVIL}
    assert scan({"auto_map": {"AutoModel": "sub.a.M"}}, files=files).verdict == "dangerous"


def test_source_that_does_not_parse_is_said():
    report = scan({"auto_map": {"AutoModel": "a.M"}}, files={"a.py": b"print 'x'"})
    assert report.verdict == "unproven"
    assert "cannot be parsed" in report.findings[0].message


def test_code_of_another_repository_is_named():
    report = scan({"model_type": "x", "auto_map": {"AutoModel": "someone/repo--modeling_x.XModel"}})
    assert report.verdict == "unproven"
    assert rules(report) == ["hf-config.other-repository"]
    assert "someone/repo" in report.findings[0].message


@pytest.mark.parametrize("key", [b'"auto\\u005fmap"', b'"\\u0061uto_map"', b'"auto_ma\\u0070"'])
def test_an_escaped_key_is_the_key(key):
    assert scan(b"{" + key + b': {"AutoModel": "m.M"}}').verdict == "unproven"


def test_the_last_of_repeated_keys_counts():
    assert scan(b'{"auto_map": {}, "auto_map": {"AutoModel": "m.M"}}').verdict == "unproven"


@pytest.mark.parametrize(
    "name",
    ["tokenizer_config.json", "processor_config.json", "preprocessor_config.json", "renamed.json", "x"],
)
def test_any_configuration_may_have_it(name):
    assert (
        scan({"auto_map": {"AutoTokenizer": ["m.T", None]}, "tokenizer_class": "T"}, name).verdict
        == "unproven"
    )


def test_custom_pipelines():
    pipelines = {"pair": {"impl": "pipeline_x.Pair", "pt": ["AutoModel"], "tf": []}}
    value = {"model_type": "x", "architectures": ["A"], "custom_pipelines": pipelines}
    assert scan(value).verdict == "unproven"
    assert scan(value, files={"pipeline_x.py": EVIL}).verdict == "dangerous"


def test_trust_in_the_configuration():
    assert rules(scan({"model_type": "x", "architectures": [], "trust_remote_code": True})) == [
        "hf-config.trust"
    ]
    assert scan({"model_type": "x", "architectures": [], "trust_remote_code": False}).verdict == "inert"


# --- templates ----------------------------------------------------------------------------------------------

SSTI = "{{ cycler.__init__.__globals__.os.popen('id').read() }}"


@pytest.mark.parametrize(
    "template",
    [SSTI, [{"name": "default", "template": "{{ x }}"}, {"name": "b", "template": SSTI}], {"default": SSTI}],
)
def test_a_template_that_reaches_code_is_dangerous(template):
    assert (
        scan({"tokenizer_class": "X", "chat_template": template}, "tokenizer_config.json").verdict
        == "dangerous"
    )


@pytest.mark.parametrize(
    ("name", "text", "verdict"),
    [
        ("chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}", "inert"),
        ("chat_template.jinja", SSTI, "dangerous"),
        ("additional_chat_templates/rag.jinja", SSTI, "dangerous"),
        ("chat_template.json", json.dumps({"chat_template": "{{ messages }}"}), "inert"),
        ("chat_template.json", json.dumps({"chat_template": SSTI}), "dangerous"),
        ("chat_template.json", json.dumps({"a": [SSTI]}), "dangerous"),
    ],
)
def test_template_files(name, text, verdict):
    assert scan(text.encode(), name).verdict == verdict


def test_templates_have_a_limit(monkeypatch):
    monkeypatch.setattr(chat_template, "LARGEST", 3)
    with pytest.raises(Malformed, match="3 are read"):
        chat_template.read(b"{{ x }}", Reading("x.jinja"))


# --- diffusers, sentence-transformers, peft -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("unet", "verdict"),
    [
        (["diffusers", "UNet2DModel"], "inert"),
        (["os", "system"], "dangerous"),
        (["subprocess", "Popen"], "dangerous"),
        (["builtins", "eval"], "dangerous"),
        (["my_package", "Net"], "unproven"),
        (["transformers", "CLIPTextModel"], "inert"),
        (["onnxruntime", "X"], "unproven"),
        ([1, 2], "inert"),
        ("x", "inert"),
    ],
)
def test_components_of_a_pipeline(unet, verdict):
    value = {"_class_name": "P", "_diffusers_version": "0.1", "unet": unet}
    assert scan(value, "model_index.json").verdict == verdict


def test_a_component_of_the_repository_is_read():
    value = {"_class_name": "P", "_diffusers_version": "0.1", "unet": ["my_unet", "Net"]}
    assert scan(value, "model_index.json", {"unet/my_unet.py": EVIL}).verdict == "dangerous"
    assert scan(value, "model_index.json", {"unet/my_unet.py": MODEL}).verdict == "unproven"


def test_a_pipeline_of_the_repository_is_read():
    value = {"_class_name": ["pipeline", "P"], "_diffusers_version": "0.1"}
    assert scan(value, "model_index.json", {"pipeline.py": EVIL}).verdict == "dangerous"
    assert scan(value, "model_index.json").verdict == "unproven"


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("sentence_transformers.models.Dense", "inert"),
        ("os.system", "dangerous"),
        ("sentence_transformers.os.system", "dangerous"),
        ("custom_module.Pooling", "unproven"),
    ],
)
def test_modules_of_sentence_transformers(kind, verdict):
    value = [{"idx": 0, "name": "0", "path": "", "type": kind}]
    assert scan(value, "modules.json").verdict == verdict


def test_a_module_of_the_repository_is_read():
    value = [{"idx": 0, "name": "0", "path": "", "type": "custom.Pooling"}]
    assert scan(value, "modules.json", {"custom.py": EVIL}).verdict == "dangerous"


@pytest.mark.parametrize(
    ("library", "verdict"),
    [
        ("transformers", "inert"),
        ("__main__", "inert"),
        ("mine", "unproven"),
        ("os", "dangerous"),
        ("subprocess", "dangerous"),
    ],
)
def test_parent_libraries_of_adapters(library, verdict):
    value = {"peft_type": "LORA", "auto_mapping": {"base_model_class": "X", "parent_library": library}}
    assert scan(value, "adapter_config.json").verdict == verdict


def test_objects_in_a_configuration_are_judged_too():
    value = {"model_type": "x", "architectures": [], "head": {"_target_": "os.system", "command": "id"}}
    assert scan(value).verdict == "dangerous"


# --- damage and limits --------------------------------------------------------------------------------------


def test_a_truncated_configuration_is_taken_by_no_loader():
    text = json.dumps({"model_type": "x", "architectures": ["A"], "auto_map": {"AutoModel": "m.M"}}).encode()
    for size in range(1, len(text)):
        report = scan(text[:size])
        assert report.verdict in {None, "inert", "unproven"}
    assert rules(scan(b'{"model_type": "x", "architectures": [')) == ["hf-config.damaged"]


def test_limits(monkeypatch):
    deep = b'{"auto_map": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert scan(deep).verdict == "unproven"
    monkeypatch.setattr(hf_config, "LARGEST", 5)
    with pytest.raises(Malformed, match="5 are read"):
        hf_config.read(b'{"auto_map": 1}', Reading())


KEYS = st.sampled_from(
    ["auto_map", "custom_pipelines", "chat_template", "auto_mapping", "_class_name", "_diffusers_version", "type", "impl", "template",
     "parent_library", "unet", "idx", "model_type"]
)  # fmt: skip
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["os.system", "m.M", "a/b--c.D", "..", "", "{{ x }}", "diffusers"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_any_json_is_read(value):
    into = Reading("config.json", beside={"m.py": EVIL}.get)
    try:
        hf_config.read(json.dumps(value).encode(), into)
    except Malformed:
        return
    assert into.proven


@given(st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read(data):
    into = Reading("config.json")
    try:
        hf_config.read(data, into)
    except Malformed:
        return
    assert into.proven


@given(st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_mutations_are_survived(place, byte):
    text = bytearray(json.dumps(USUAL["model_index.json"]).encode())
    text[place % len(text)] = byte
    assert scan(bytes(text), "model_index.json").verdict in {None, "inert", "unproven", "dangerous"}


# --- names where a first look does not find them ------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "x", "architectures": [], "text_config": {"auto_map": {"AutoModel": "m.M"}}},
        {"model_type": "x", "architectures": [], "auto_map": {}, "vision": [{"auto_map": {"AutoModel": "m.M"}}]},
        b'{"auto\\u005fmap": {"AutoModel": "m.M"}, "model_type": "x", "architectures": []}',
    ],
)  # fmt: skip
def test_auto_map_of_a_part_or_spelled_with_escapes_counts(config):
    assert scan(config, files={"m.py": EVIL}).verdict == "dangerous"


@pytest.mark.parametrize("kind", ["StableDiffusionPipeline", "Anything", ["m", "P"]])
def test_a_pipeline_needs_no_version(kind):
    config = {"_class_name": kind, "unet": ["os", "system"]}
    assert scan(config, "model_index.json").verdict == "dangerous"


def test_two_blocks_of_a_model_are_no_component():
    config = {
        "_class_name": "UNet2DModel",
        "_diffusers_version": "0.35.0",
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    }
    assert scan(config, "unet/config.json").verdict == "inert"


def test_code_in_an_encoding_of_its_own_is_read():
    code = b"# coding: unicode_escape\n#\\nimport os\\nos.system('id')\n"
    assert scan({"auto_map": {"AutoModel": "m.M"}}, files={"m.py": code}).verdict == "dangerous"


def test_a_template_far_behind_the_start_of_its_file_is_read():
    assert scan(b"x" * 70_000 + b"{{ ''.__class__ }}", "chat_template.jinja").verdict == "dangerous"


def test_a_template_that_is_json_as_well_is_read_as_both():
    text = b"{\"a\": \"{{ x['__cla' 'ss__'] }}\"}"
    assert scan(text, "chat_template.jinja").verdict == "dangerous"
    assert scan(b'{"a": "b"}', "chat_template.jinja").verdict == "inert"


@pytest.mark.parametrize(
    ("component", "verdict"),
    [
        (["diffusers", "UNet2DConditionModel", {"repo": "a/b", "subfolder": "unet"}], "inert"),
        (["diffusers", "UNet2DConditionModel", {"repo": "a/b", "trust_remote_code": True}], "unproven"),
        (["os", "system", {"repo": "a/b"}], "dangerous"),
    ],
)
def test_components_of_a_modular_pipeline(component, verdict):
    value = {"_class_name": "ModularPipeline", "_diffusers_version": "0.36.0", "unet": component}
    assert scan(value, "modular_model_index.json").verdict == verdict
