"""Tokens are put together here, so that no scanner of this repository takes them for real ones."""

import base64
import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.around.secrets import patterns, read
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes

LETTERS = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase
HEX = "0123456789abcdef"


def letters(count, alphabet=LETTERS, seed=1):
    return "".join(random.Random(seed).choices(alphabet, k=count))


LOGIN = base64.b64encode(b"someone:" + letters(16, seed=8).encode()).decode()

REAL = {
    "private-key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA7bq0J\n",
    "aws-key": "AKIA" + letters(16, UPPER + "234567"),
    "aws-secret": "aws_secret_access_key = " + letters(40),
    "azure-storage": "AccountKey=" + letters(86) + "==",
    "google-key": "AIza" + letters(35),
    "google-oauth": "GOCSPX-" + letters(28),
    "github-token": "ghp_" + letters(36),
    "gitlab-token": "glpat-" + letters(20),
    "huggingface-token": "hf_" + letters(34, string.ascii_letters),
    "openai-key": "sk-" + letters(20) + "T3BlbkFJ" + letters(20, seed=2),
    "anthropic-key": "sk-ant-" + "api03-" + letters(93),
    "nvidia-key": "nvapi-" + letters(64),
    "replicate-token": "r8_" + letters(37),
    "groq-key": "gsk_" + letters(52),
    "wandb-key": "WANDB_API_KEY=" + letters(40, HEX),
    "kaggle-key": '{"username":"someone","key":"' + letters(32, HEX) + '"}',
    "databricks-token": "dapi" + letters(32, HEX),
    "slack-token": "xoxb-" + letters(12, string.digits) + "-" + letters(24),
    "slack-webhook": f"https://hooks.slack.com/services/T{letters(8, UPPER)}/B{letters(8, UPPER, 3)}/{letters(24)}",
    "stripe-key": "sk_live_" + letters(24),
    "sendgrid-key": "SG." + letters(22) + "." + letters(43, seed=4),
    "npm-token": "npm_" + letters(36),
    "pypi-token": "pypi-AgE" + letters(60),
    "vault-token": "hvs." + letters(28),
    "digitalocean-token": "dop_v1_" + letters(64, HEX),
    "telegram-token": letters(9, "123456789") + ":AA" + letters(33),
    "jwt": "eyJ" + letters(20) + ".eyJ" + letters(30, seed=5) + "." + letters(43, seed=6),
    "url-password": "postgres://admin:" + letters(14) + "@db.internal.net/x",
    "docker-login": '{"auths": {"registry.example.net": {"auth": "' + LOGIN + '"}}}',
    "npm-login": "//registry.npmjs.org/:_authToken=" + letters(36, HEX + "-"),
    "password": 'db_password = "' + letters(18, seed=7) + '"',
}


def found(text, name=""):
    into = Reading(name)
    read(text.encode(), into)
    return [event.rule.removeprefix("secrets.") for event in into.events]


def test_every_form_has_an_example_here():
    assert {pattern.rule for pattern in patterns()} == set(REAL)


@pytest.mark.parametrize("rule", sorted(REAL))
def test_each_form_is_found_alone_and_inside_a_text(rule):
    assert found(REAL[rule]) == [rule]
    assert found(f"# first\n\nvalue: {REAL[rule]}\n") == [rule]


@pytest.mark.parametrize("rule", sorted(REAL))
def test_what_is_found_is_not_repeated(rule):
    into = Reading()
    read(f"x = 1\n\n{REAL[rule]}".encode(), into)
    (event,) = into.events
    assert event.line == 3
    assert event.severity in {"high", "medium"}
    longest = max(REAL[rule].replace("@", " ").replace('"', " ").split(), key=len)
    assert longest[8:] not in event.message
    assert "MII" not in event.message


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7" + "EXAMPLE",
        "hf_" + "x" * 34,
        "hf_your_token_here",
        "ghp_" + "a" * 36,
        "sk-...",
        'password = "correct horse battery staple"',
        'password = os.environ["DB_PASSWORD"]',
        'password: "${DB_PASSWORD}"',
        'api_key = "<your-api-key>"',
        'secret = "changeme-please-1234"',
        'token = "bos_token_id_of_tokenizer"',
        '"pad_token": "<|endoftext|>", "eos_token": "</s>"',
        '"unk_token": "[UNK]"',
        'access_token_url = "https://login.example.net/oauth/token"',
        "https://user:password@example.com/x",
        "postgres://localhost:5432/db",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0B\n",
        "-----BEGIN RSA PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9",
        "key = 'model.layers.0.self_attn.q_proj'",
        "git@github.com:owner/name.git",
        "image: registry.example.net/model:v1.2.3@sha256:" + "ab" * 32,
    ],
)
def test_what_is_no_secret(text):
    assert found(text) == []


def test_secrets_in_what_loaders_read_change_no_verdict():
    token = REAL["huggingface-token"]
    report = inspect_bytes(f'{{"model_type": "bert", "token": "{token}"}}'.encode(), "config.json")
    assert [f.rule for f in report.findings if f.rule.startswith("secrets.")] == ["secrets.huggingface-token"]
    assert report.verdict in {"inert", None}


def test_a_private_key_in_json_with_escaped_line_ends():
    text = '{"private_key": "-----BEGIN PRIVATE ' + 'KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQE\\n"}'
    assert found(text) == ["private-key"]


FILES = [
    (".netrc", "machine example.net login me password {}\n", "netrc-password", "high"),
    ("_netrc", "machine example.net\n  login me\n  password {}\n", "netrc-password", "high"),
    (".pypirc", "[pypi]\nusername = me\npassword: {}\n", "pypirc-password", "high"),
    (".npmrc", "//npm.example.net/:_password={}\n", "npmrc-token", "high"),
    (".npmrc", "registry=https://npm.example.net\n_auth = {}\n", "npmrc-token", "high"),
    (".pgpass", "# host\ndb.example.net:5432:*:me:{}\n", "pgpass-password", "high"),
    (".env", "# local\nexport DB_PASSWORD={}\n", "credential", "medium"),
    ("prod.env", 'A=1\nAPI_KEY="{}"\n', "credential", "medium"),
    (".env.local", "hubToken='{}'\n", "credential", "medium"),
    ("a/credentials", "[default]\naws_session_token = {}\n", "credential", "medium"),
    (".s3cfg", "[default]\nsecret_key = {}\n", "credential", "medium"),
    ("secrets.yaml", "db:\n  password: {}\n", "credential", "medium"),
]


@pytest.mark.parametrize(("name", "text", "rule", "severity"), FILES)
def test_files_that_exist_to_hold_credentials(name, text, rule, severity):
    value = "pw" + letters(9, seed=9)
    full = text.format(value)
    report = inspect_bytes(full.encode(), name)
    assert (report.format, report.verdict) == ("secrets", None)
    (finding,) = report.findings
    line = 1 + full[: full.index(value)].count("\n")
    assert (finding.rule, finding.severity, finding.location.line) == (f"secrets.{rule}", severity, line)
    assert value not in finding.message
    assert found(full, "notes.txt") == []
    for place in ("${SECRET}", "<password>", "changeme", "", "/run/secrets/x", "your-password", "abc"):
        assert found(text.format(place), name) == []


def test_a_kaggle_key_whatever_stands_first():
    text = f'{{"key": "{letters(32, HEX)}", "username": "someone"}}'
    assert found(text, "kaggle.json") == ["kaggle-key"]
    assert found(text, "other.json") == []
    assert found(REAL["kaggle-key"], "kaggle.json") == ["kaggle-key"]


def test_a_credentials_file_of_aws():
    text = f"[default]\naws_access_key_id = {REAL['aws-key']}\n{REAL['aws-secret']}\nregion = eu-west-1\n"
    assert found(text, "credentials") == ["aws-key", "aws-secret"]


@pytest.mark.parametrize(
    "line",
    ["MAX_TOKENS=1000000", "EOS_TOKEN=[endoftext]", "PUBLIC_KEY=abcdefgh", "KEYBOARD=qwertyuiop", "PASSWORD_FILE=abcdefgh",
     "TOKEN_URL=abcdefgh", "monkey=abcdefgh", "API_KEY=$OTHER", "DB_PASSWORD=a b c d e f", "# API_KEY=abcdefgh", "API_KEY"],
)  # fmt: skip
def test_what_is_no_credential_in_an_environment_file(line):
    assert found(f"{line}\n", ".env") == []


def test_a_login_of_docker_is_a_name_and_a_password():
    assert (
        found(REAL["docker-login"].replace(LOGIN, base64.b64encode(b"no colon in this text").decode())) == []
    )
    assert found(REAL["docker-login"].replace(LOGIN, "A" * 13)) == []
    assert found('{"auths": {"registry.example.net": {}}, "credsStore": "desktop"}') == []


def test_each_secret_has_its_line():
    order = sorted(REAL)
    into = Reading()
    read("\n\n".join(REAL[rule] for rule in order).encode(), into)
    lines = 1
    expected = []
    for rule in order:
        expected.append((f"secrets.{rule}", lines))
        lines += REAL[rule].count("\n") + 2
    assert [(event.rule, event.line) for event in into.events] == expected


@pytest.mark.parametrize("rule", sorted(REAL))
def test_a_secret_is_found_at_the_end_and_between_long_runs(rule):
    assert found("x" * 5000 + "\n" + REAL[rule]) == [rule]
    assert found(f"{'QUJD' * 2000}\n{REAL[rule]}\n{'x' * 76}\n") == [rule]


def test_pictures_of_a_notebook_are_passed_over():
    token = REAL["huggingface-token"]
    picture = base64.b64encode(random.Random(3).randbytes(60_000)).decode()
    wrapped = base64.encodebytes(random.Random(4).randbytes(60_000)).decode()
    cell = {
        "outputs": [{"data": {"image/png": picture, "text/plain": wrapped}}],
        "source": [f"login('{token}')\n"],
    }
    assert found(json.dumps({"cells": [cell]})) == ["huggingface-token"]


def test_lines_of_one_length_are_read_while_they_hold_tokens():
    tokens = "\n".join(
        "gsk_" + letters(60, seed=seed)[:52] + "\n" + letters(56, seed=seed + 1000) for seed in range(30)
    )
    assert found(tokens) == ["groq-key"] * 30


def test_what_is_long_is_said():
    into = Reading()
    read(b"x\n" * (9 << 20) + REAL["aws-key"].encode(), into)
    assert [event.rule for event in into.events] == ["secrets.unread"]


@pytest.mark.parametrize(
    "part",
    [
        "secret",
        "://a:",
        "password='",
        "AKIA" * 9 + " ",
        "eyJ" * 1300 + " ",
        '"username":"',
        "-----BEGIN PRIVATE KEY-----",
        "a" * 19 + " ",
    ],
)
def test_what_repeats_is_bounded(part):
    into = Reading()
    read(part.encode() * ((1 << 20) // len(part)), into)
    assert len(into.events) <= 101


def test_many_are_counted_up_to_a_limit():
    text = "\n".join("hf_" + letters(34, string.ascii_letters, seed) for seed in range(300))
    rules = found(text)
    assert rules == ["huggingface-token"] * 100 + ["more"]
    assert found("\n".join(text.splitlines()[:100])) == ["huggingface-token"] * 100


@given(st.binary(max_size=400))
def test_any_bytes_are_read(data):
    read(data, Reading())
