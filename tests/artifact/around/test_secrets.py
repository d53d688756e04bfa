"""Tokens are put together here, so that no scanner of this repository takes them for real ones."""

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
    "password": 'db_password = "' + letters(18, seed=7) + '"',
}


def found(text):
    into = Reading()
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


def test_many_are_counted_up_to_a_limit():
    text = "\n".join("hf_" + letters(34, string.ascii_letters, seed) for seed in range(300))
    assert len(found(text)) == 100


@given(st.binary(max_size=400))
def test_any_bytes_are_read(data):
    read(data, Reading())
