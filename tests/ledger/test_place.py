"""Where a ledger is: folders, URLs, and passwords that never stand in a URL that others can read."""

import getpass
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import ConfigInvalid, KeyUnusable
from modelward.ledger.place import LOCAL, Server, is_database, local_folder, server_of


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in ("PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def passwords(monkeypatch, folder, text, mode=0o600):
    path = folder / "passwords"
    path.write_text(text)
    path.chmod(mode)
    monkeypatch.setenv("PGPASSFILE", str(path))


@pytest.mark.parametrize("place", ["postgresql://h/d", "postgres://h/d", "env:STORE"])
def test_databases(place):
    assert is_database(place)
    assert local_folder(place) == LOCAL


@pytest.mark.parametrize("place", [".modelward", "/var/ledger", "postgresql", "http://x/y", "a/env:b"])
def test_folders(place):
    assert not is_database(place)
    assert not is_database(Path(place))
    assert local_folder(place) == local_folder(Path(place)) == Path(place)


def test_a_whole_url():
    server, secret = server_of("postgresql://au%40dit@db.example:6543/ev%2Fidence?sslrootcert=/ca.pem")
    assert server == Server(
        host="db.example", port=6543, user="au@dit", database="ev/idence", secured=True, roots="/ca.pem"
    )
    assert secret is None
    assert server.name == "postgresql://au@dit@db.example:6543/ev/idence"


def test_what_a_short_url_means():
    server, _ = server_of("postgresql:///evidence")
    assert server == Server(
        host="localhost", port=5432, user=getpass.getuser(), database="evidence", secured=False
    )
    assert server_of("postgres://audit@/")[0].database == "audit"


def test_a_user_without_a_name_names_one(monkeypatch):
    def unknown(number):
        raise KeyError(number)

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ConfigInvalid, match="names no user"):
        server_of("postgresql:///evidence")
    assert server_of("postgresql://me@/evidence")[0].user == "me"


def test_a_socket():
    server, _ = server_of("postgresql://audit@:7000/evidence?host=/var/run/postgresql")
    assert (server.host, server.port, server.secured) == ("/var/run/postgresql", 7000, False)


@pytest.mark.parametrize(
    ("url", "secured"),
    [
        ("postgresql://u@db.example/d", True),
        ("postgresql://u@192.0.2.7/d", True),
        ("postgresql://u@localhost.evil.example/d", True),
        ("postgresql://u@localhost/d", False),
        ("postgresql://u@127.0.0.1/d", False),
        ("postgresql://u@[::1]/d", False),
        ("postgresql://u@localhost/d?sslmode=verify-full", True),
        ("postgresql://u@db.example/d?sslmode=unsafe-disable", False),
    ],
)
def test_a_server_elsewhere_is_spoken_to_by_tls(url, secured):
    assert server_of(url)[0].secured is secured


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", ""])
def test_weaker_modes_are_refused(mode):
    with pytest.raises(ConfigInvalid, match="unsafe-disable"):
        server_of(f"postgresql://u@db.example/d?sslmode={mode}")


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@h/d", "postgres://:secret@h/d", "postgresql://u:@h/d"]
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigInvalid, match="holds a password") as refused:
        server_of(url)
    assert "secret" not in str(refused.value)
    assert "PGPASSWORD" in refused.value.advice


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h:port/d",
        "postgresql://u@h:99999/d",
        "postgresql://[::1/d",
        "postgresql://u@h/d?nothing",
        "postgresql://u@h/d?user=root",
        "postgresql://u@h/d?password=secret",
        "postgresql://u@h/d?options=-c%20x",
    ],
)
def test_what_is_no_url(url):
    with pytest.raises(ConfigInvalid) as refused:
        server_of(url)
    assert "secret" not in str(refused.value)


def test_a_url_in_the_environment_may_hold_a_password(monkeypatch):
    monkeypatch.setenv("STORE", "postgresql://u:pass%20word@localhost/d")
    server, secret = server_of("env:STORE")
    assert secret.split() == ["pass", "word"]
    assert "pass" not in repr(server)
    assert "pass" not in server.name


@pytest.mark.parametrize("value", [None, "", "/a/folder", "http://x"])
def test_a_variable_that_holds_no_url(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("STORE", value)
    with pytest.raises(ConfigInvalid, match="env:STORE"):
        server_of("env:STORE")


def test_the_password_of_the_environment(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "from env")
    assert server_of("postgresql://u@localhost/d")[1] == "from env"
    monkeypatch.setenv("STORE", "postgresql://u:mine@localhost/d")
    assert server_of("env:STORE")[1] == "mine"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("localhost:5432:d:u:one", "one"),
        ("*:*:*:*:any", "any"),
        (r"localhost:5432:d:u:a\:b\\c", r"a:b\c"),
        ("localhost:5432:d:u:with:colons", "with:colons"),
        ("#localhost:5432:d:u:no", None),
        ("localhost:5432:d:other:no", None),
        ("localhost:5433:d:u:no", None),
        ("localhost:5432:e:u:no", None),
        ("elsewhere:5432:d:u:no", None),
        ("localhost:5432:d:u", None),
        ("", None),
    ],
)
def test_lines_of_the_file_of_passwords(monkeypatch, bare, line, secret):
    passwords(monkeypatch, bare, f"# a comment\n{line}\n")
    assert server_of("postgresql://u@localhost/d")[1] == secret


def test_the_first_line_that_fits_counts(monkeypatch, bare):
    passwords(monkeypatch, bare, "x:*:*:*:0\n*:*:d:*:1\n*:*:*:*:2\n")
    assert server_of("postgresql://u@localhost/d")[1] == "1"
    assert server_of("postgresql://u@localhost/e")[1] == "2"


def test_a_socket_is_localhost_in_the_file_of_passwords(monkeypatch, bare):
    passwords(monkeypatch, bare, "localhost:*:*:*:s\n")
    assert server_of("postgresql://u@/d?host=/run")[1] == "s"


def test_the_file_in_the_home_folder(bare):
    path = bare / ".pgpass"
    path.write_text("*:*:*:*:home\n")
    path.chmod(0o600)
    assert server_of("postgresql://u@localhost/d")[1] == "home"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_of_passwords_that_others_may_read_is_refused(monkeypatch, bare, mode):
    passwords(monkeypatch, bare, "*:*:*:*:secret\n", mode)
    with pytest.raises(KeyUnusable, match="others than its owner") as refused:
        server_of("postgresql://u@localhost/d")
    assert "chmod 600" in refused.value.advice
    assert "secret" not in str(refused.value)


def test_no_file_of_passwords_is_no_fault(monkeypatch, bare):
    monkeypatch.setenv("PGPASSFILE", str(bare / "none"))
    assert server_of("postgresql://u@localhost/d")[1] is None
    (bare / "passwords").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("PGPASSFILE", str(bare / "passwords"))
    assert server_of("postgresql://u@localhost/d")[1] is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_a_server_or_refused(text):
    try:
        server, secret = server_of(f"postgresql://{text}")
    except ConfigInvalid:
        return
    assert secret is None
    assert 0 <= server.port < 65536
    assert server.host
    assert server.database
