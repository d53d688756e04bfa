"""Texts are known by their name and content; a name alone is enough only where nothing else bears it."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around.kinds import KINDS, refine
from modelward.artifact.format import TEXTUAL, Sniffed
from modelward.artifact.verdict import inspect_bytes

FILES = [
    ("Dockerfile", "FROM python:3\nRUN x\n", "dockerfile"),
    ("Dockerfile.gpu", "ARG x=1\nFROM $x\n", "dockerfile"),
    ("gpu.dockerfile", "# c\nfrom python:3\n", "dockerfile"),
    ("Containerfile", "FROM x\n", "dockerfile"),
    ("Dockerfile.md", "# How to build\nWords.\n", "text"),
    ("docker-compose.yml", "services:\n  a:\n    image: x\n", "compose"),
    ("docker-compose.prod.yaml", "version: '3'\nservices:\n  a: {}\n", "compose"),
    ("compose.yaml", "services:\n  a: {}\n", "compose"),
    ("compose.yaml", "mixture: 1\n", "yaml"),
    ("deploy/pod.yaml", "apiVersion: v1\nkind: Pod\n", "kubernetes"),
    ("a.yaml", "---\nkind: Deployment\nmetadata: {}\napiVersion: apps/v1\n", "kubernetes"),
    ("pod.json", '{"apiVersion": "v1", "kind": "Pod"}', "kubernetes"),
    ("config.properties", "inference_address=http://0.0.0.0:8080\n", "serving-config"),
    ("m/config.pbtxt", 'name: "m"\nplatform: "onnxruntime_onnx"\n', "triton"),
    ("models.config", "model_config_list {\n}\n", "serving-config"),
    ("model-settings.json", '{"implementation": "mlserver_sklearn.SKLearnModel"}', "serving-config"),
    ("bentofile.yaml", 'service: "service:svc"\n', "serving-config"),
    ("requirements.txt", "torch==2.0\nnumpy\n", "requirements"),
    ("requirements-dev.txt", "a,b\nc,d\n", "requirements"),
    ("dev-requirements.in", "torch\n", "requirements"),
    ("constraints.txt", "torch==2\n", "requirements"),
    ("requirements/base.txt", "torch\n", "requirements"),
    ("poetry.lock", "[[package]]\n", "lock-file"),
    ("uv.lock", "version = 1\n", "lock-file"),
    ("pdm.lock", "x = 1\n", "lock-file"),
    ("Pipfile.lock", '{"_meta": {}}', "lock-file"),
    ("pylock.toml", "lock-version = '1.0'\n", "lock-file"),
    ("pylock.dev.toml", "lock-version = '1.0'\n", "lock-file"),
    ("package-lock.json", '{"name": "x"}', "lock-file"),
    ("conda-lock.yml", "version: 1\n", "lock-file"),
    ("environment.yml", "name: x\ndependencies:\n- python\n", "conda"),
    ("conda.yaml", "channels:\n- defaults\n", "conda"),
    ("python_env.yaml", "python: 3.11\ndependencies:\n- -r requirements.txt\n", "conda"),
    ("environment.yaml", "lr: 1\n", "yaml"),
    ("pyproject.toml", "[project]\n", "package-manifest"),
    ("setup.cfg", "[metadata]\n", "package-manifest"),
    ("package.json", '{"name": "x"}', "package-manifest"),
    ("Pipfile", "[packages]\n", "package-manifest"),
    ("setup.py", "# setup\nsetup()\n", "python"),
    ("LICENSE", "MIT License\n", "licence"),
    ("LICENCE.txt", "MIT\n", "licence"),
    ("COPYING", "GPL\n", "licence"),
    ("UNLICENSE", "free\n", "licence"),
    ("README.md", "---\nlicense: mit\n---\n# Model\n", "model-card"),
    ("README.md", "# Project\nWords.\n", "text"),
    ("MODEL_CARD.md", "# Card\n", "model-card"),
    (".env", "KEY=1\n", "secrets"),
    ("prod.env", "KEY=1\n", "secrets"),
    (".env.local", "KEY=1\n", "secrets"),
    (".netrc", "machine x login y password z\n", "secrets"),
    (".pypirc", "[pypi]\n", "secrets"),
    ("id_rsa", "x\n", "secrets"),
    ("server.pem", "-----BEGIN CERTIFICATE-----\n", "secrets"),
    ("notes.txt", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", "secrets"),
    ("credentials", "[default]\n", "secrets"),
    ("kaggle.json", '{"username": "x"}', "secrets"),
    ("run.sh", "echo hi\n", "shell"),
    ("run", "#!/usr/bin/env bash\necho\n", "shell"),
    ("run", "#!/bin/sh\necho\n", "shell"),
    ("tool", "#!/usr/bin/env python3\nprint(1)\n", "python"),
    ("model.py", "x = 1\n", "python"),
    ("model.PY", "a,b = 1,2\nc,d = 3,4\n", "python"),
    ("x.ipynb", '{"cells": []}', "notebook"),
    ("x.json", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "notebook"),
    ("a.yaml", "lr: 0.1\n", "yaml"),
    ("a.yml", "- 1\n- 2\n", "yaml"),
    ("a.toml", "x = 1\n", "toml"),
    ("a.xml", "<?xml version='1.0'?><a/>\n", "xml"),
    ("notes.txt", "just words\n", "text"),
    ("data.csv", "a,b\n1,2\n3,4\n", "csv"),
    ("data.json", '{"a": 1}', "json"),
    ("config.json", '{"a": 1}', "json"),
    ("generation_config.json", '{"bos_token_id": 1}', "hf-config"),
    ("special_tokens_map.json", '{"bos_token": "<s>"}', "hf-config"),
    ("config.json", '{"auto\\u005fmap": {}}', "hf-config"),
    ("chat_template.jinja", "{{ messages }}", "chat-template"),
    ("sub/x.jinja2", "{% if a %}b{% endif %}", "chat-template"),
    ("MLmodel", "flavors:\n  sklearn: {}\n", "mlflow"),
]


@pytest.mark.parametrize(("name", "text", "kind"), FILES)
def test_kind(name, text, kind):
    report = inspect_bytes(text.encode(), name)
    assert report.format == kind


@pytest.mark.parametrize(("name", "text", "kind"), FILES)
def test_what_stands_around_a_model_has_no_verdict(name, text, kind):
    verdict = inspect_bytes(text.encode(), name).verdict
    assert verdict in (
        {"inert", "unproven"} if kind in {"hf-config", "mlflow", "chat-template", "triton"} else {None}
    )


def test_a_member_of_an_archive_is_known_by_the_last_part_of_its_path():
    for name in ("a/b/model.py", "x.zip!gzip/model.py", "a\\model.py"):
        assert refine(Sniffed("text", ""), name, b"x = 1").format == "python"


def test_what_fits_no_kind_stays_what_it_was():
    found = Sniffed("text", "words")
    assert refine(found, "notes", b"words") is found
    assert refine(found, "", b"words") is found


def test_every_pattern_compiles_and_every_kind_can_be_told():
    for kind in KINDS:
        re.compile(kind.names)
        for pattern in kind.content:
            re.compile(pattern)
        assert kind.names or kind.content or kind.paths


@given(st.sampled_from(sorted(TEXTUAL)), st.text(max_size=60), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_name_and_content_is_refined(found, name, head):
    assert refine(Sniffed(found, ""), name, head).format


REPEATED = [
    b"\n",
    b" ",
    b"\t",
    b"a ",
    b"apiVersion: ",
    b"kind:\n",
    b'"nbformat" ',
    b"{[",
    b"---\n",
    b"\n---",
    b"a.b",
    b"_",
    b"<?xml",
    b"#!",
    b"FROM",
]


@pytest.mark.parametrize("part", REPEATED)
def test_patterns_take_linear_time(part):
    head = (part * 65536)[:65536]
    for name in (
        "Dockerfile",
        "a.yaml",
        "README.md",
        "config.properties",
        "x",
        "environment.yml",
        "a" * 4000 + ".yaml",
    ):
        refine(Sniffed("text", ""), name, head)
        refine(Sniffed("json", ""), name, head)


# --- by content ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"auto_map": {"AutoModel": "m.M"}}, "hf-config"),
        ({"model_type": "bert", "architectures": ["X"]}, "hf-config"),
        ({"tokenizer_class": "X"}, "hf-config"),
        ({"peft_type": "LORA"}, "hf-config"),
        ({"_class_name": "X", "_diffusers_version": "0.1"}, "hf-config"),
        ([{"idx": 0, "name": "0", "path": "", "type": "a.B"}], "hf-config"),
        ({"model": {"_target_": "torch.nn.Linear"}}, "object-yaml"),
        ({"class_path": "x.Y", "init_args": {}}, "object-yaml"),
        ({"py/object": "os.system"}, "object-yaml"),
        ({"handlers": {"a": {"()": "os.system"}}}, "object-yaml"),
        ({"class_name": "Sequential", "config": {"layers": []}, "keras_version": "3"}, "model-json"),
        ({"model_type": "x"}, "json"),
        ({"type": "object", "properties": {}}, "json"),
        ({"type": "os"}, "json"),
        ([1, 2], "json"),
    ],
)
def test_json_is_known_by_its_keys_whatever_its_name(content, kind):
    assert inspect_bytes(json.dumps(content).encode(), "x.json").format == kind
    assert inspect_bytes(json.dumps(content, indent=2).encode(), "renamed").format == kind


@pytest.mark.parametrize(
    "text",
    [
        b'{"\\u005ftarget_": "os.system"}',
        b'{"a": {"clas\\u0073_path": "os.system"}}',
        b'{"type": "os\\u002esystem"}',
    ],
)
def test_an_escaped_name_in_json_is_the_name(text):
    assert inspect_bytes(text, "x.json").verdict == "dangerous"


def test_a_key_behind_other_content_is_found():
    content = {"labels": {str(number): "x" * 50 for number in range(3000)}, "auto_map": {"AutoModel": "m.M"}}
    assert inspect_bytes(json.dumps(content).encode(), "x.json").format == "hf-config"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("model:\n  _target_: torch.nn.Linear\n", "object-yaml"),
        ("- _target_: x.Y\n", "object-yaml"),
        ("{_target_: x.Y}\n", "object-yaml"),
        ("'_target_': x.Y\n", "object-yaml"),
        ("? _target_\n: os.system\n", "object-yaml"),
        ("!!str _target_: os.system\n", "object-yaml"),
        ("a: &b\n  &c _target_: os.system\n", "object-yaml"),
        ('"\\x5ftarget_": os.system\n', "object-yaml"),
        ('"\\u005ftarget_": os.system\n', "object-yaml"),
        ('? "_tar\\\n  get_"\n: os.system\n', "object-yaml"),
        ("%TAG !p! tag:yaml.org,2002:py\n---\na: !p!thon/name:os.system\n", "object-yaml"),
        ("target:\n  os.system\n", "object-yaml"),
        ("a: !!python/name:os.system\n", "object-yaml"),
        ("a: !<tag:yaml.org,2002:python/name:os.system>\n", "object-yaml"),
        ("%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!name:os.system\n", "object-yaml"),
        ("trainer:\n  class_path: lightning.Trainer\n", "object-yaml"),
        ("target: os.system\n", "object-yaml"),
        ("artifact_path: m\nflavors:\n  python_function:\n    loader_module: x\n", "mlflow"),
        ("# _target_ is a key of Hydra\nlr: 1\n", "yaml"),
        ("target: production\ntype: linear\n", "yaml"),
        ("text: 'write _target_: x'\n", "yaml"),
    ],
)
def test_yaml_is_known_by_its_keys(text, kind):
    assert inspect_bytes(text.encode(), "x.yaml").format == kind


@pytest.mark.parametrize(
    "text",
    [
        "# Guide\n\nWrite\n\n```yaml\n_target_: os.system\n```\n* and: [so\n",
        'import x\n"""\n_target_: os.system\n"""\nx = {\n',
        "def f():\n    '''\n    _target_: x\n    '''\n    return 1\n",
    ],
)
def test_prose_and_code_that_speak_of_the_keys_are_no_configuration(text):
    assert inspect_bytes(text.encode(), "x.txt").verdict is None
