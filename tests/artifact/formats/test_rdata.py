"""R data: a promise that runs code is dangerous, models with formulas and environments are inert."""

import bz2
import gzip
import lzma
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats.rdata import read
from modelward.artifact.reading import Reading

NIL, GLOBAL, UNBOUND, MISSING, BASE = 254, 253, 252, 251, 241


def i(*values):
    return struct.pack(f">{len(values)}i", *values)


def char(text):
    raw = text.encode()
    return i(0x40009, len(raw)) + raw


def sym(name):
    return i(1) + char(name)


def texts(*values):
    return i(16, len(values)) + b"".join(map(char, values))


def reals(*values):
    return i(14, len(values)) + struct.pack(f">{len(values)}d", *values)


def lang(name, *args):
    head = sym(name) if isinstance(name, str) else name
    return i(6) + head + b"".join(i(2) + arg for arg in args) + i(NIL)


def pairs(*items, flags=0):
    return b"".join(i(2 | 1024 | flags) + sym(name) + value for name, value in items) + i(NIL)


def env(*items, flags=0):
    return i(4, 0, GLOBAL) + pairs(*items, flags=flags) + i(NIL, NIL)


def promise(code, value=None):
    """Not evaluated yet, unless it has a value."""
    if value is None:
        return i(5 | 1024, GLOBAL, UNBOUND) + code
    return i(5) + value + code


def closure(body):
    return i(3 | 1024, GLOBAL, NIL) + body


def vector(*items):
    return i(19, len(items)) + b"".join(items)


def header(version=2):
    return b"X\n" + i(version, 0x040403, 0x020300) + (i(5) + b"UTF-8" if version == 3 else b"")


def rds(body, version=2):
    return header(version) + body


def rdata(*items, version=2):
    return b"RDX%d\n" % version + header(version) + pairs(*items)


SYSTEM = lang("system", texts("id"))


@pytest.mark.parametrize(
    "code",
    [
        SYSTEM,
        lang("eval", lang("parse", texts("x"))),
        lang("Sys.setenv", texts("x")),
        lang(lang("::", sym("base"), sym("system")), texts("id")),
        lang("{", lang("c"), lang("if", i(NIL), lang("download.file", texts("http://x")))),
        lang("+", reals(1.0), reals(2.0)),
        sym("x"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_promise_instead_of_a_value_is_dangerous(verdict, code, version):
    """CVE-2024-27322: the code runs as soon as the object is used."""
    wrapped = [rds(promise(code), version), rdata(("model", promise(code)), version=version)]
    wrapped.append(rds(vector(reals(1.0), promise(code)), version))
    for data in wrapped:
        assert verdict(data) == ("dangerous", {"rdata.promise"})


def test_the_call_is_reconstructed():
    into = Reading()
    read(rds(promise(SYSTEM)), into)
    assert [event.call for event in into.events] == ["system('id')"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files(verdict, pack):
    assert verdict(pack(rds(promise(SYSTEM)))) == ("dangerous", {"rdata.promise"})
    assert verdict(pack(rds(reals(1.0)))) == ("inert", set())


def test_promises_of_an_environment(verdict):
    """Frames of calls hold promises in honest files; what they call decides."""
    assert verdict(rds(env(("x", promise(SYSTEM))))) == ("dangerous", {"rdata.promise"})
    assert verdict(rds(env(("x", promise(SYSTEM, reals(1.0)))))) == ("inert", set())
    assert verdict(rds(env(("x", promise(sym("y")))))) == ("inert", set())
    assert verdict(rds(env(("x", promise(lang("c", reals(1.0))))))) == ("inert", set())
    assert verdict(rds(env(("x", promise(lang("poly", reals(1.0))))))) == ("inert", set())
    assert verdict(rds(env(("x", promise(lang("get", texts("y"))))))) == ("unproven", {"rdata.promise"})
    hidden = env(("f", closure(SYSTEM)), ("x", promise(lang("f"))))
    assert verdict(rds(hidden)) == ("unproven", {"rdata.promise"})


def test_an_evaluated_promise_outside_an_environment_is_unproven(verdict):
    assert verdict(rds(promise(SYSTEM, reals(1.0)))) == ("unproven", {"rdata.promise"})


@pytest.mark.parametrize("name", [".First", ".Last", ".onLoad", "print", "library", "("])
def test_functions_that_r_calls_by_name(verdict, name):
    assert verdict(rdata((name, closure(SYSTEM)))) == ("dangerous", {"rdata.hook"})
    assert verdict(rdata((name, closure(lang("c"))))) == ("unproven", {"rdata.hook"})
    assert verdict(rdata((name, reals(1.0)))) == ("inert", set())


def test_active_bindings_call_functions(verdict):
    active = 1 << 27
    assert verdict(rds(env(("x", closure(SYSTEM)), flags=active))) == ("dangerous", {"rdata.hook"})
    assert verdict(rds(env(("x", closure(lang("c"))), flags=active))) == ("inert", set())


FORMULA = (
    i(6 | 512 | 256)
    + pairs(("class", texts("formula")))
    + sym("~")
    + i(2)
    + sym("y")
    + i(2)
    + sym("x")
    + i(NIL)
)
MODEL = (
    i(19 | 512 | 256, 4)
    + reals(1.0, 2.0)
    + FORMULA
    + env(("data", promise(sym("d"), reals(1.0))))
    + lang("lm", FORMULA, sym("d"))
    + pairs(("names", texts("coefficients", "terms", "env", "call")), ("class", texts("lm")))
)


@pytest.mark.parametrize(
    "body",
    [
        MODEL,
        closure(SYSTEM),
        lang("system", texts("id")),
        i(20, 1) + SYSTEM,
        i(8, 3) + b"sum",
        vector(i(249, 0, 1) + char("stats"), i(0x1FF)),
        i(22, NIL, NIL),
        i(238) + i(2) + sym("compact_intseq") + i(2) + sym("base") + i(2) + i(13, 1, 13) + i(NIL) + reals(1.0, 1.0, 1.0)
        + i(NIL),
        i(25 | 512 | 256) + pairs(("slot", reals(1.0)), ("class", texts("C"))),
        i(13, 2, 1, 2),
        i(10, 1, -(1 << 31)),
        i(15, 1) + b"\0" * 16,
        i(24, 3) + b"abc",
        i(16, 1, 9, -1),
        texts(*map(str, range(500))),
    ],
)  # fmt: skip
def test_objects_are_data_until_something_calls_them(verdict, body):
    assert verdict(rds(body)) == ("inert", set())
    assert verdict(rdata(("model", body))) == ("inert", set())


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (i(23), "rdata.pointer"),
        (i(247, 0, 1) + char("hook"), "rdata.persistent"),
        (i(238) + i(2) + sym("mmap_integer") + i(2) + sym("simplemmap") + i(NIL) + texts("/etc/passwd") + i(NIL), "rdata.altrep"),
        (i(99), "artifact.unread"),
        (i(0x2FF), "artifact.unread"),
        (i(14, -7), "artifact.unread"),
        (i(14, 1 << 30), "artifact.unread"),
        (i(19, 3) + reals(1.0), "artifact.unread"),
        (reals(1.0) + b"more", "artifact.unread"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_unproven(verdict, body, rule):
    assert verdict(rds(body)) == ("unproven", {rule})


def test_compiled_closures_are_walked(verdict):
    constants = (
        i(3)
        + i(6, NIL)
        + i(1)
        + char("f")
        + i(254)
        + i(13)
        + i(13, 1, 1)
        + i(244, 0, 2, NIL, 16)
        + texts("x")
    )
    code = i(21, 1) + i(13, 1, 12) + constants.replace(i(254) + i(13), i(254, 13), 1)
    assert verdict(rds(code))[0] in {"inert", "unproven"}
    plain = i(21, 0) + i(13, 1, 12) + i(1, 14) + reals(1.0)
    assert verdict(rds(i(3 | 1024, GLOBAL, NIL) + plain)) == ("inert", set())


def test_text_and_native_encodings(verdict):
    assert verdict(b"A\n2\n263171\n131840\n14\n2\n1.5\nNA\n") == ("inert", set())
    assert verdict(b"A\r\n2\r\n263171\r\n131840\r\n14\r\n1\r\n1.5\r\n") == ("inert", set())
    assert verdict(b"A\n2\n263171\n131840\n5\n252\n6\n1\n262153\n6\nsystem\n254\n") == (
        "dangerous",
        {"rdata.promise"},
    )
    native = b"B\n" + struct.pack("<3i", 2, 0x040403, 0x020300) + struct.pack("<iid", 14, 1, 1.0)
    assert verdict(native) == ("inert", set())


def test_a_table_that_starts_with_the_letter_a_is_no_r_data(verdict):
    assert verdict(b"A,B\n2,3\n4,5\n")[0] is None


def test_facts():
    into = Reading()
    read(rds(MODEL, 3), into)
    assert into.facts == {"framework": "R", "format_version": "3", "producer": "R 4.4.3"}


def test_files_of_r(verdict):
    library = pytest.importorskip("rdata", reason="rdata, which ships files written by R, is not installed")
    files = sorted((Path(library.__file__).parent / "tests" / "data").rglob("*.rd[as]"))[::7]
    if not files:
        pytest.skip("this rdata ships no test files")
    assert {path.name: verdict(path.read_bytes()) for path in files} == {
        path.name: ("inert", set()) for path in files
    }


def test_deep_nesting_ends(verdict):
    assert verdict(rds(i(19, 1) * 100_000 + reals(1.0)))[0] == "inert"
    assert verdict(rds(i(6 | 512) * 50_000))[0] == "unproven"


@pytest.mark.parametrize("end", range(14, len(rds(MODEL)), 3))
def test_truncation_is_never_inert(survives, end):
    assert survives(read, rds(MODEL)[:end]) == "unproven"


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 2), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_mutations(survives, mutated, edits):
    survives(read, mutated(rds(MODEL), edits))
    survives(read, mutated(rdata(("x", env(("y", promise(SYSTEM))))), edits))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*range(26), 238, 239, 247, 248, 249, 254, 255, 0x2FF, 1 | 1024, 2 | 512, 5 | 1024, -1]
        ),
        max_size=60,
    )
)
def test_any_words(survives, words):
    survives(read, rds(i(*words)))
    survives(read, b"A\n2\n263171\n131840\n" + b"".join(b"%d\n" % word for word in words))
