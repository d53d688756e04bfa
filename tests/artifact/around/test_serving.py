"""Configuration of model servers: what each rule says and where, and what good files are spared."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import serving
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes

LOOPBACK = """\
# management stays on this machine
inference_address=http://0.0.0.0:8080
management_address=http://127.0.0.1:8081
metrics_address=http://127.0.0.1:8082
grpc_management_address=127.0.0.1
allowed_urls=https://models.example.net/.*,file:///srv/models/.*
disable_token_authorization=false
install_py_dep_per_model=false
cors_allowed_origin=https://example.net
model_store=/srv/models
"""
SETTINGS = """{
  "http_port": 8080,
  "debug": true,
  "cors_settings": {
    "allow_origins": ["https://example.net"]
  }
}
"""


def found(text, name):
    report = inspect_bytes(text.encode(), name)
    assert (report.format, report.verdict) == ("serving-config", None)
    return sorted((f.rule, f.severity, f.location.line) for f in report.findings)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (LOOPBACK, "config.properties"),
        (SETTINGS, "settings.json"),
        ('{"implementation": "mlserver_sklearn.SKLearnModel"}', "model-settings.json"),
        ("service: 'service:Model'\ntrust_remote_code: false\n", "bentofile.yaml"),
        ('model_config_list { config { name: "a" base_path: "/models/a" } }', "models.config"),
    ],
)
def test_good_files_have_no_finding(text, name):
    assert found(text, name) == []


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        (
            "management_address=http://0.0.0.0:8081",
            {("management-address", "high"), ("allowed-urls", "high")},
        ),
        (
            "management_address = https://[::]:8444/",
            {("management-address", "high"), ("allowed-urls", "high")},
        ),
        ("management_address: http://0.0.0.0", {("management-address", "high"), ("allowed-urls", "high")}),
        ("grpc_management_address=0.0.0.0", {("management-address", "high")}),
        ("allowed_urls=.*", {("allowed-urls", "medium")}),
        ("allowed_urls=file://.*|http(s)?://.*", {("allowed-urls", "medium")}),
        ("allowed_urls=https://example.net/.*,http://.*", {("allowed-urls", "medium")}),
        ("disable_token_authorization=true", {("no-token", "medium")}),
        ("enable_model_api=TRUE", {("model-api", "medium")}),
        ("install_py_dep_per_model=true", {("installs-packages", "medium")}),
        ("cors_allowed_origin=*", {("any-origin", "low")}),
    ],
)
def test_torchserve(line, rules):
    text = f"# x\n\n{line}\ninference_address=http://0.0.0.0:8080\n"
    assert found(text, "config.properties") == sorted(
        (f"torchserve.{rule}", severity, 3) for rule, severity in rules
    )
    assert found(f"#{line}\n!{line}\nx=1\n", "config.properties") == []


@pytest.mark.parametrize(
    "line",
    [
        "management_address=http://127.0.0.1:8081",
        "management_address=http://10.0.0.1:8081",
        "management_address=http://localhost:8081",
        "grpc_management_address=127.0.0.1",
        "allowed_urls=https://s3.amazonaws.com/.*,https://torchserve.pytorch.org/.*",
        "allowed_urls=file://.*",
        "enable_model_api=false",
        "disable_token_authorization=",
        "cors_allowed_origin=https://*.example.net",
        "my.management_address=http://0.0.0.0:8081",
    ],
)
def test_torchserve_without_weakness(line):
    assert found(f"{line}\nx=1\n", "config.properties") == []


def test_the_last_of_repeated_properties_counts():
    text = "management_address=http://0.0.0.0:8081\nallowed_urls=https://a.example.net/.*\nmanagement_address=http://127.0.0.1:8081\n"
    assert found(text, "config.properties") == []
    assert found("management_address=http://127.0.0.1:1\n" + text.splitlines()[0], "config.properties") == [
        ("torchserve.allowed-urls", "high", 2),
        ("torchserve.management-address", "high", 2),
    ]


def test_open_management_with_its_own_store_is_one_finding():
    text = "management_address=http://0.0.0.0:8081\nallowed_urls=https://a.example.net/.*\n"
    assert found(text, "config.properties") == [("torchserve.management-address", "high", 1)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            '{"implementation": "x.Y", "parameters": {"extra": {\n"trust_remote_code": true}}}',
            "model-settings.json",
        ),
        ("handler:\n  trust_remote_code: True\n", "model-config.yaml"),
        ("service: 'a:B'\nmodels: [{trust_remote_code: 'true'}]\n", "bentofile.yaml"),
    ],
)
def test_code_of_the_repository(text, name):
    assert found(text, name) == [("serving.trust-remote-code", "high", 2)]
    assert found(text.replace("true", "false").replace("True", "False"), name) == []


def test_any_origin_of_mlserver():
    text = SETTINGS.replace("https://example.net", "*")
    assert found(text, "settings.json") == [("mlserver.any-origin", "low", 4)]


@pytest.mark.parametrize(
    ("text", "name", "rules"),
    [
        ('{"http_port": 1, "a": [', "settings.json", []),
        ("service: [\n", "bentofile.yaml", [("serving.unreadable", "low", None)]),
        ("= = =\n\\\na=\n", "config.properties", None),
    ],
)
def test_malformed(text, name, rules):
    into = Reading(name)
    serving.read(text.encode(), into)
    if rules:
        assert [(event.rule, event.severity, event.line) for event in into.events] == rules
    assert all(event.severity == "low" for event in into.events)


def test_a_long_file_is_read_in_part():
    into = Reading("config.properties")
    serving.read(b"a=1\n" * 300_000 + b"enable_model_api=true\n", into)
    assert [event.rule for event in into.events] == ["serving.unread"]


NAMES = st.sampled_from(
    ["config.properties", "config.pbtxt", "models.config", "settings.json", "bentofile.yaml", ""]
)
PIECES = [
    "management_address",
    "=",
    ":",
    "http://0.0.0.0",
    "allowed_urls",
    "\n",
    "true",
    "backend",
    '"python"',
    "{",
    "}",
    "[",
    " ",
    "trust_remote_code",
    "\\",
    "*",
]


@given(
    NAMES,
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from(PIECES), max_size=25).map(lambda p: "".join(p).encode()),
    ),
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read(name, data):
    serving.read(data, Reading(name))


@given(st.recursive(st.none() | st.booleans() | st.text("*ab", max_size=3), lambda x: st.lists(x, max_size=3) | st.dictionaries(
    st.sampled_from(["trust_remote_code", "cors_settings", "allow_origins", "x"]), x, max_size=4), max_leaves=12))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_json_is_read(content):
    serving.read(json.dumps(content).encode(), Reading("settings.json"))
