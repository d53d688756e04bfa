"""Files that exist to hold credentials: every kind by its names, what in it is a secret, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.around.credentials import PLACES, found, secret

KEY = "0123456789abcdef" * 2


def read(path, text):
    return [(place.rule, value.decode()) for place, _, value in found(path, text.encode())]


NETRC = "secrets.netrc-password"
PYPIRC = "secrets.pypirc-password"
NPMRC = "secrets.npmrc-token"
PGPASS = "secrets.pgpass-password"
KAGGLE = "secrets.kaggle-key"
ANY = "secrets.credential"

FILES = [
    (".netrc", "machine h login u password hunter22", [(NETRC, "hunter22")]),
    ("_netrc", "machine h\nlogin u\npassword\n\thunter22\n", [(NETRC, "hunter22")]),
    (
        "home/.netrc",
        "machine a password secret1\nmachine b password secret2",
        [(NETRC, "secret1"), (NETRC, "secret2")],
    ),
    ("C:\\Users\\x\\_netrc", "machine h password hunter22", [(NETRC, "hunter22")]),
    ("x.zip!.netrc", "machine h password hunter22", [(NETRC, "hunter22")]),
    (".NETRC", "machine h password hunter22", [(NETRC, "hunter22")]),
    (".netrc", "machine h login u", []),
    (".netrc", "machine h password <yours>", []),
    ("my.netrc", "machine h password hunter22", []),
    ("netrc", "machine h password hunter22", []),
    (".netrc.md", "machine h password hunter22", []),
    (".pypirc", "[pypi]\nusername = __token__\npassword = pypi-abc", [(PYPIRC, "pypi-abc")]),
    (".pypirc", "[pypi]\n  password: pypi-abc", [(PYPIRC, "pypi-abc")]),
    (".pypirc", "[pypi]\n# password = pypi-abc", []),
    (".pypirc", "[pypi]\npassword = ${TOKEN}", []),
    (".npmrc", "//r.org/:_authToken=npm_abc", [(NPMRC, "npm_abc")]),
    (".npmrc", "_auth=YWJjZGVm", [(NPMRC, "YWJjZGVm")]),
    (".npmrc", "//r.org/:_password = YWJjZGVm", [(NPMRC, "YWJjZGVm")]),
    (".npmrc", "//r.org/:_authToken=${NPM_TOKEN}", []),
    (".npmrc", "registry=https://r.org", []),
    (".pgpass", "host:5432:db:user:hunter22", [(PGPASS, "hunter22")]),
    (".pgpass", "*:*:*:*:hunter22\na:b:c:d:second2\n", [(PGPASS, "hunter22"), (PGPASS, "second2")]),
    (".pgpass", "#host:5432:db:user:hunter22", []),
    (".pgpass", "host:5432:db:hunter22", []),
    ("kaggle.json", f'{{"username": "u", "key": "{KEY}"}}', [(KAGGLE, KEY)]),
    ("kaggle.json", f'{{"key":"{KEY}"}}', [(KAGGLE, KEY)]),
    ("kaggle.json", f'{{"key": "{KEY[:-1]}"}}', []),
    ("other.json", f'{{"key": "{KEY}"}}', []),
    (".env", "DB_PASSWORD=hunter22", [(ANY, "hunter22")]),
    (".env.local", "export API_KEY='abcdef1'", [(ANY, "abcdef1")]),
    ("prod.env", 'A_TOKEN = "abcdef1"', [(ANY, "abcdef1")]),
    ("credentials", "[default]\naws_secret_access_key = abcdef1", [(ANY, "abcdef1")]),
    (".boto", "gs_secret_access_key = abcdef1", [(ANY, "abcdef1")]),
    (".s3cfg", "secret_key = abcdef1", [(ANY, "abcdef1")]),
    ("secrets.yaml", "db_password: hunter22", [(ANY, "hunter22")]),
    ("secret.yml", "  token: abcdef1", [(ANY, "abcdef1")]),
    ("secrets.toml", '"api_key" = "abcdef1"', [(ANY, "abcdef1")]),
    ("secrets.txt", "password=hunter22", [(ANY, "hunter22")]),
    (".env", "DB_HOST=localhost12\nDB_PASSWORD_FILE=/run/x", []),
    (".env", "# DB_PASSWORD=hunter22", []),
    (".env", "DB_PASSWORD=", []),
    (".env", "MAX_TOKENS=100000\nEOS_TOKEN=endoftext", []),
    ("env", "DB_PASSWORD=hunter22", []),
    ("secrets.json", '{"password": "hunter22"}', []),
    ("environment.yml", "password: hunter22", []),
]


@pytest.mark.parametrize(("path", "text", "secrets"), FILES)
def test_each_kind_of_file(path, text, secrets):
    assert read(path, text) == secrets


def test_every_place_is_tried():
    assert {rule for _, _, secrets in FILES for rule, _ in secrets} == {place.rule for place in PLACES}


def test_offsets_are_those_of_the_secrets():
    for path, text, _ in FILES:
        for _, offset, value in found(path, text.encode()):
            assert text.encode()[offset:].lstrip(b"\"' ").startswith(value)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.rule)
def test_a_credential_is_high_and_one_by_its_name_alone_medium(place):
    assert place.severity == ("medium" if place.rule == ANY else "high")
    assert place.what


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("password", "hunter22", True),
        ("PASSWORD", "hunter22", True),
        ("my_password", "hunter22", True),
        ("db.passwd", "hunter22", True),
        ("clientSecret", "hunter22", True),
        ("client_secret", "hunter22", True),
        ("access_key", "hunter22", True),
        ("accesskey", "hunter22", True),
        ("privateKey", "hunter22", True),
        ("key", "hunter22", False),
        ("password_hash", "hunter22", False),
        ("secretary", "hunter22", False),
        ("password", "five5", False),
        ("password", "true", False),
        ("password", "None", False),
        ("password", "https://h/x", False),
        ("password", "~/file", False),
        ("password", "......", False),
        ("password", "change-me", False),
        ("stop_token", "hunter22", False),
        ("image_token", "hunter22", False),
        ("bostoken", "hunter22", False),
        ("access_token", "hunter22", True),
    ],
)
def test_what_a_name_says_of_its_value(name, value, said):
    assert secret(name, value) is said


@given(
    st.sampled_from([".netrc", ".pypirc", ".npmrc", ".pgpass", "kaggle.json", ".env"]),
    st.binary(max_size=200),
)
def test_any_bytes_are_read(path, content):
    for place, offset, value in found(path, content):
        assert place.names.fullmatch(path)
        assert 0 <= offset < len(content)
        assert value in content
