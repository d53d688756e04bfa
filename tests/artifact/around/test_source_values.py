"""What is known of values without running anything: Python itself is the independent route."""

import ast
import binascii
import builtins

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around.python import origins, values
from modelward.artifact.around.python import walk as walking
from modelward.artifact.around.python.scope import KEPT, Scope
from modelward.artifact.around.python.values import (
    DECODED,
    DOWNLOAD,
    LONGEST,
    SECRET,
    UNKNOWN,
    Value,
    constant,
)
from modelward.artifact.around.python.walk import walk
from modelward.artifact.around.source import analyse


def given_to(text):
    """The first argument of the last call of `print`."""
    sites = [site for site in walk(ast.parse(text)).sites if site.path == "builtins.print"]
    return sites[-1].args[0]


def paths(text):
    return [site.path for site in walk(ast.parse(text)).sites if site.path not in {"", KEPT}]


# --- constants ----------------------------------------------------------------------------------------------

FOLDED = [
    "'a' + 'b'",
    "b'a' + b'b'",
    "1 + 2",
    "7 - 9",
    "6 ^ 3",
    "3 * 4",
    "'ab' * 3",
    "-5",
    "'abc'[1]",
    "'abc'[-1]",
    "'abc'[::-1]",
    "b'abc'[::-1]",
    "'AbC'.lower()",
    "'AbC'.upper()",
    "' a '.strip()",
    "' a '.lstrip()",
    "' a '.rstrip()",
    "'AbC'.swapcase()",
    "'é'.encode()",
    "b'\\xc3\\xa9'.decode()",
    "','.join(['a', 'b'])",
    "''.join(('a', 'b', 'c'))",
    "'a-b'.replace('-', '+')",
    "'a b c'.split()[1]",
    "'a,b'.split(',')[0]",
    "['x', 'y'][1]",
    "('x', 'y')[-2]",
    "(['x'] + ['y'])[1]",
    "f'a{1}b{\"c\"}'",
    "chr(97)",
    "chr(100 - 3) + chr(98)",
    "''.join([chr(105), chr(100)])",
    "bytes.fromhex('6964')",
    "__import__('base64').b64decode('aWQ=')",
    "__import__('codecs').decode('vq', 'rot13')",
]


@pytest.mark.parametrize("text", FOLDED)
def test_constants_are_those_of_python(text):
    value = given_to(f"print({text})")
    assert value.known
    assert value.const == eval(text)  # noqa: S307  a constant of the table above
    assert type(value.const) is type(eval(text))  # noqa: S307  the same


NOT_FOLDED = [
    "x",
    "x + 'a'",
    "'a' if x else 'b'",
    "'abc'[1:2]",
    "'abc'[9]",
    "['a'][x]",
    "f'{x}'",
    "'a'.zfill(9)",
    "'a'.lower(1)",
    "2 ** 9",
    "[1, 2]",
    "lambda: 1",
    "...",
    "chr(-1)",
    "bytes.fromhex('zz')",
]


@pytest.mark.parametrize("text", NOT_FOLDED)
def test_what_is_not_constant_is_not_known(text):
    assert not given_to(f"print({text})").known


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("'a' + x", "a?"),
        ("x + 'a'", "?a"),
        ("x + y", ""),
        ("f'/home/{x}/.ssh'", "/home/?/.ssh"),
        ("'%s/.aws/%d' % (x, y)", "?/.aws/?"),
        ("'{}/.netrc'.format(x)", "?/.netrc"),
        ("'/'.join([x, 'a'])", "?/a"),
        ("os.path.join(x, 'a', 'b')", "?/a/b"),
        ("os.path.join('/etc', 'cron')", "/etc/cron"),
        ("Path('/a') / 'b' / x", "/a/b/?"),
        ("Path.home() / '.ssh'", "~/.ssh"),
        ("Path.home().joinpath('.ssh', 'id')", "~/.ssh/id"),
        ("os.path.expanduser('~/x')", "~/x"),
        ("Path('~/x').expanduser().resolve()", "~/x"),
        ("str(Path('/a'))", "/a"),
        ("os.fspath('/a')", "/a"),
    ],
)
def test_texts_that_are_partly_known(text, start):
    assert given_to(f"import os\nfrom pathlib import Path\nprint({text})").start == start


def test_constants_end_at_the_limit():
    assert constant("x" * LONGEST).known
    assert not constant("x" * (LONGEST + 1)).known
    assert not given_to("a = 'x' * 200000\nprint(a + a)").known
    assert values.numbers(constant("ab"), constant(LONGEST // 2), "Mult").known
    assert not values.numbers(constant("ab"), constant(LONGEST // 2 + 1), "Mult").known
    assert not values.numbers(constant(1 << 32), constant(2), "Mult").known
    assert not values.numbers(constant("ab"), constant(-1), "Mult").known


@given(st.binary(max_size=60))
def test_decoders_of_the_standard_library(raw):
    for path, text in (
        ("base64.b64decode", binascii.b2a_base64(raw).decode()),
        ("binascii.unhexlify", raw.hex()),
        ("base64.b16decode", raw.hex().upper()),
        ("base64.urlsafe_b64decode", binascii.b2a_base64(raw).decode().replace("+", "-").replace("/", "_")),
    ):
        for given_text in (text, text.encode()):
            found = values.decode(path, [constant(given_text)])
            assert (found.const, found.tags) == (raw, {DECODED})


@pytest.mark.parametrize("path", sorted(values.DECODERS))
def test_each_decoder_marks_its_result(path):
    for argument in (
        UNKNOWN,
        constant("%%%"),
        constant(None),
        constant(b"\xff"),
        Value(tags=frozenset({DOWNLOAD})),
    ):
        found = values.decode(path, [argument])
        assert DECODED in found.tags
        assert found.tags >= argument.tags
    assert values.decode(path, []).tags == {DECODED}
    assert values.decode(path + "x", [UNKNOWN]) is None


@given(st.text(max_size=40))
def test_rot13_is_that_of_the_standard_library(text):
    import codecs

    letters = text.encode("latin-1", "ignore").decode("latin-1")
    assert values._rot13(letters) == codecs.encode(letters, "rot13")


# --- names --------------------------------------------------------------------------------------------------

NAMED = [
    ("import os\nos.system(1)", ["os.system"]),
    ("import os as o\no.system(1)", ["os.system"]),
    ("import os.path\nos.path.join(1)", ["os.path.join"]),
    ("import a.b as c\nc.d(1)", ["a.b.d"]),
    ("from os import system\nsystem(1)", ["os.system"]),
    ("from os import system as s\ns(1)", ["os.system"]),
    ("from . import a\na.b(1)", ["..a.b"]),
    ("from .m import a\na(1)", [".m.a"]),
    ("from os import *\nsystem(1)", ["os.system"]),
    ("from unknown import *\nsystem(1)", []),
    ("f = print\nf(1)", ["builtins.print"]),
    ("import os\na = b = os\nb.system(1)", ["os.system"]),
    ("import os\na, b = os, 1\na.system(1)", ["os.system"]),
    ("import os\n[a, [b]] = [1, [os]]\nb.system(1)", ["os.system"]),
    ("import os\n(a := os).system(1)", ["os.system"]),
    ("import os\nwith os as a:\n    a.system(1)", ["os.system"]),
    ("import os\nfor a in [os]:\n    a.system(1)", ["os.system"]),
    ("import os\nfor a in [os, 1]:\n    a.system(1)", ["?.system"]),
    ("import os\nclass A:\n    o = os\n    o.system(1)", ["os.system"]),
    ("import os\ndef f():\n    os.system(1)", ["os.system"]),
    ("import os\ndef f(os):\n    os.system(1)", ["?.system"]),
    ("import os\ndef f(*os):\n    os.system(1)", ["?.system"]),
    ("import os\ndef f(*, os=1):\n    os.system(1)", ["?.system"]),
    ("def f():\n    import os\nos.system(1)", ["?.system"]),
    ("class A:\n    import os\n    def f(self):\n        os.system(1)", ["?.system"]),
    ("import os\nos = 1\nos.system(1)", ["?.system"]),
    ("import os\ndel x\nos.system(1)", ["os.system"]),
    ("try:\n    import os\nexcept ImportError:\n    pass\nos.system(1)", ["os.system"]),
    ("x.system(1)", ["?.system"]),
    ("open('a').read()", ["builtins.open", "builtins.open().read"]),
    ("import tarfile\nt = tarfile.open(p)\nt.extractall()", ["tarfile.open", "tarfile.open().extractall"]),
    ("import os\ngetattr(os, 'system')(1)", ["builtins.getattr", "os.system"]),
    ("__import__('os.path').system(1)", ["builtins.__import__", "os.system"]),
    ("import importlib\nimportlib.import_module('a.b').c(1)", ["importlib.import_module", "a.b.c"]),
    ("import sys\nsys.modules['os'].system(1)", ["os.system"]),
    ("import shutil\nshutil.os.system(1)", ["os.system"]),
    ("import a\na._os.system(1)", ["os.system"]),
    ("vars()['x']\nglobals()['print'](1)", ["builtins.vars", "builtins.globals", "builtins.print"]),
    ("import os\nvars(os)['system'](1)", ["builtins.vars", "os.system"]),
    ("import os\nos.__dict__['system'](1)", ["os.system"]),
    ("import os\nos.__dict__.get('system')(1)", ["os.get", "os.system"]),
    ("import functools, os\nfunctools.partial(os.system, 1)()", ["functools.partial", "os.system"]),
    ("import os\n@os.register\ndef f(): ...", ["os.register"]),
    ("import os\nx.run = os.system\nx.run(1)", ["?.run", "os.system"]),
    ("import os\nos.environ['A'] = 1", ["os.environ[A]"]),
    ("a['b'] = 1", ["?[b]"]),
    ("def print(x): ...\nprint(1)", ["<print>"]),
    ("class A:\n    def f(self):\n        self.g()", ["<A.g>"]),
]


@pytest.mark.parametrize(("text", "found"), NAMED)
def test_what_is_called(text, found):
    assert paths(text) == found


def test_every_builtin_is_found():
    for name in dir(builtins):
        if name.isidentifier() and not name.startswith("__") and name not in {"None", "True", "False", "_"}:
            assert paths(f"{name}(1)") == [f"builtins.{name}"]
    assert Scope(None, "module", "", "").find("absent") is UNKNOWN


def test_names_of_definitions_are_qualified():
    seen = walk(
        ast.parse(
            "def f():\n    def g(): ...\nclass A:\n    def m(self): ...\n    class B:\n        async def n(self): ..."
        )
    )
    assert seen.functions == {"f", "f.g", "A.m", "A.B.n"}


def test_who_mentions_whom():
    seen = walk(
        ast.parse("def f():\n    g()\ndef g(): ...\nclass A:\n    def m(self):\n        self.n(f)\nf\nA()")
    )
    assert {owner: names for owner, names in seen.edges.items() if owner == ""} == {"": {"f", "A"}}
    assert seen.edges["f"] == {"g"}
    assert seen.edges["A.m"] == {"A", "A.n", "f"}


def test_arguments_by_position_and_name():
    (site,) = walk(ast.parse("f(1, 'a', k=2)")).sites
    assert [site.arg(0).const, site.arg(1, "b").const, site.arg(5, "k").const] == [1, "a", 2]
    assert site.arg(2) is None
    assert site.arg(-1, "none") is None
    assert site.open is False


@pytest.mark.parametrize(
    ("text", "count", "is_open"),
    [
        ("f(*[1, 2])", 2, False),
        ("f(*x)", 1, True),
        ("f(**x)", 0, True),
        ("f(1, *(2,), k=3)", 2, False),
        ("f()", 0, False),
    ],
)
def test_arguments_that_are_spread(text, count, is_open):
    site = walk(ast.parse(text)).sites[-1]
    assert (len(site.args), site.open) == (count, is_open)


# --- where values come from ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(origins.DOWNLOADS))
def test_each_function_that_downloads(path):
    assert DOWNLOAD in given_to(f"import {path.split('.')[0]}\nprint({path}(u))").tags


@pytest.mark.parametrize("path", sorted(origins.SECRETS))
def test_each_function_that_tells_about_the_machine(path):
    assert SECRET in given_to(f"import {path.split('.')[0]}\nprint({path}())").tags


TAGGED = [
    ("os.environ", SECRET),
    ("dict(os.environ)", SECRET),
    ("os.environ['API_KEY']", SECRET),
    ("os.environ['aws_secret']", SECRET),
    ("os.environ.get('HF_TOKEN')", SECRET),
    ("os.getenv('DB_PASSWORD', 'x')", SECRET),
    ("os.environ['HOME']", None),
    ("os.getenv(name)", None),
    ("requests.get(u).json()['a']", DOWNLOAD),
    ("io.BytesIO(requests.get(u).content)", DOWNLOAD),
    ("[requests.get(u)]", DOWNLOAD),
    ("{'a': requests.get(u)}", DOWNLOAD),
    ("f'{requests.get(u)}'", DOWNLOAD),
    ("x + requests.get(u).text", DOWNLOAD),
    ("'%s' % requests.get(u).text", DOWNLOAD),
    ("[r for r in requests.get(u).json()]", DOWNLOAD),
    ("s3.download_file('b', 'k', 'p')", DOWNLOAD),
    ("'abc'[::-1]", DECODED),
    ("'a'.replace('a', 'b')", DECODED),
    ("map(chr, x)", DECODED),
    ("'plain'", None),
]


@pytest.mark.parametrize(("text", "tag"), TAGGED)
def test_origins_follow_values(text, tag):
    assert given_to(f"import io, os, requests\nprint({text})").tags == ({tag} if tag else set())


def test_a_file_that_was_downloaded_is_known_by_its_name():
    text = "import urllib.request as r\nr.urlretrieve(u, 'm.bin')\nprint(open('{}'))"
    assert given_to(text.format("m.bin")).tags == {DOWNLOAD}
    assert given_to(text.format("n.bin")).tags == set()


@pytest.mark.parametrize(
    ("name", "worth"),
    [
        ("HF_TOKEN", True),
        ("aws_secret_access_key", True),
        ("PGPASS", True),
        ("CREDENTIALS", True),
        ("HOME", False),
        ("", False),
        (None, False),
    ],
)
def test_variables_worth_stealing(name, worth):
    assert origins.secret(name) is worth


# --- limits -------------------------------------------------------------------------------------------------


def test_the_number_of_parts_ends_at_its_limit(monkeypatch):
    monkeypatch.setattr(walking, "NODES", 50)
    assert analyse("x = 1\n" * 10).problem is None
    assert analyse("x = 1\n" * 30).problem == "it has more parts than are looked at"
    assert analyse("x = [" + "1, " * 60 + "]").problem is not None
    assert analyse("x = 1\n" * 30).level == "unproven"


@settings(deadline=None, max_examples=60)
@given(st.recursive(st.sampled_from(["'a'", "b'c'", "1", "x"]), lambda inner: st.tuples(inner, st.sampled_from(["+", "*", "-", "^", "%"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"), max_leaves=8))  # fmt: skip
def test_what_is_known_is_what_python_computes(text):
    value = given_to(f"print({text})")
    if value.known and "x" not in text:
        assert value.const == eval(text)  # noqa: S307  built of four constants above
    assert not (value.known and "x" in text)
