"""Code objects in marshalled bytes: marshal and the compiler are the independent route."""

import base64
import marshal
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats.keras_code import Code, decode, everything, guessed, parse

SOURCES = [
    "lambda x: x",
    "lambda x: x + 1",
    "lambda x: keras.ops.relu(x)",
    "lambda: __import__('os').system('id')",
    "lambda a, b=1, *c, d=2, **e: (a, b, c, d, e)",
    "lambda: [a.b(c) for c in d if c.e]",
    "lambda: {k: v for k, v in f.items()}",
    "lambda: (lambda: (lambda: g.h)())()",
    "lambda x: 'text' + x + 'é' + '\\U0001f600'",
    "lambda: (1, -1, 2**40, 1.5, 3j, b'raw', None, True, ..., 'a')",
    "lambda: ('nested', ('deeper', ('text',)))",
    "lambda x: x in {'a', 'b'}",
    "lambda x: f'{x:>{y}}' + z",
    "lambda: " + " + ".join(f"n{i}" for i in range(300)),
    "lambda: '" + "x" * 300 + "'",
    "lambda x: x[1:2, ::3].T @ w",
    "lambda x: y if x else (z := 1)",
]


def function(source):
    return next(item for item in compile(source, "<config>", "eval").co_consts if hasattr(item, "co_names"))


def inside(code):
    """The code object and those in it, as the interpreter has them."""
    yield code
    for item in code.co_consts:
        if hasattr(item, "co_names"):
            yield from inside(item)


def texts(value):
    if isinstance(value, str):
        return {value}
    if isinstance(value, bytes):
        return {value.decode("latin-1")}
    return set().union(*map(texts, value)) if isinstance(value, tuple) else set()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("version", [2, 3, 4])
def test_names_and_texts_are_those_of_the_compiler(source, version):
    code = function(source)
    found = parse(marshal.dumps(code, version))
    assert found is not None
    assert found.names == code.co_names
    names, words = everything(found)
    assert set(names) == {name for each in inside(code) for name in each.co_names}
    assert set(words) >= set().union(*(texts(each.co_consts) for each in inside(code)))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("source", SOURCES[:8])
def test_truncation_at_every_byte_hides_no_name(source):
    """The last fields are a table of lines and one of exceptions, which older Pythons do not write."""
    raw = marshal.dumps(function(source))
    whole = parse(raw)
    cut = [parse(raw[:end]) for end in range(len(raw))]
    assert set(cut[: len(raw) // 2]) == {None}
    assert {everything(found)[0] for found in cut if found is not None} <= {everything(whole)[0]}


@pytest.mark.parametrize(
    "value", [None, 1, "text", b"bytes", (1, 2), [1], {"a": 1}, 1.5, ..., frozenset("a")]
)
def test_other_values_are_no_code(value):
    assert parse(marshal.dumps(value)) is None


IDENTIFIER = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(str.isidentifier)


@settings(deadline=None, max_examples=60)
@given(st.lists(IDENTIFIER, min_size=1, max_size=6), st.lists(st.text(max_size=9), max_size=3))
def test_any_names_are_found(names, words):
    import keyword

    names = [name for name in names if not keyword.iskeyword(name)] or ["n"]
    code = function(f"lambda: ({', '.join(names)}, {', '.join(map(repr, words))})")
    found = everything(parse(marshal.dumps(code)))
    assert set(found[0]) == set(names)
    assert set(words) <= set(found[1])


# --- values of marshal by hand ------------------------------------------------------------------------------


def short(text):
    return b"z" + bytes([len(text)]) + text.encode()


def pair(*items):
    return b")" + bytes([len(items)]) + b"".join(items)


def code(consts, names=b")\0", raw=b"s\0\0\0\0"):
    """A code object as Python 3.8 to 3.10 marshal it."""
    parts = raw + consts + names + pair() * 3 + short("f.py") + short("g")
    return b"c" + struct.pack("<6I", *range(6)) + parts + struct.pack("<I", 1) + b"s\0\0\0\0"


VALUES = [
    (b"N", ()),
    (b"T", ()),
    (b"F", ()),
    (b"S", ()),
    (b".", ()),
    (b"i\1\0\0\0", ()),
    (b"I" + bytes(8), ()),
    (b"l\2\0\0\0\1\0\1\0", ()),
    (b"l\xfe\xff\xff\xff\1\0\1\0", ()),
    (b"f\x031.5", ("1.5",)),
    (b"g" + struct.pack("<d", 1.5), None),
    (b"y" + struct.pack("<dd", 1, 2), None),
    (b"x\x011\x012", ("1", "2")),
    (b"s\2\0\0\0ab", ("ab",)),
    (b"t\2\0\0\0ab", ("ab",)),
    (b"u\2\0\0\0\xc3\xa9", ("é",)),
    (b"a\2\0\0\0ab", ("ab",)),
    (b"A\2\0\0\0ab", ("ab",)),
    (b"z\2ab", ("ab",)),
    (b"Z\2ab", ("ab",)),
    (b"(\1\0\0\0z\1a", ("a",)),
    (b")\1z\1a", ("a",)),
    (b")\2" + short("a") + pair(short("b")), ("a", "b")),
]


@pytest.mark.parametrize(("value", "words"), VALUES)
def test_each_kind_of_value(value, words):
    found = parse(code(pair(value, short("end"))))
    assert found is not None
    if words is not None:
        assert found.texts == (*words, "end")
    assert found.texts[-1] == "end"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"?",
        b"r\x09\0\0\0",
        b"R\0\0\0\0",
        b"(\xff\xff\xff\xff",
        b"s\xff\xff\xff\x7f",
        b"u\1\0\0\0\xff",
        b"q",
    ],
)
def test_what_is_no_value(value):
    assert parse(code(pair(value, short("end")))) is None


def test_references_are_to_what_was_marked():
    marked = bytes([ord("z") | 0x80, 6]) + b"system"
    found = parse(code(pair(marked, b"r\0\0\0\0"), pair(b"r\0\0\0\0")))
    assert (found.names, found.texts) == (("system",), ("system", "system"))


@pytest.mark.parametrize(
    ("consts", "names", "raw"),
    [
        (b"N", b")\0", b"s\0\0\0\0"),
        (b")\0", b"N", b"s\0\0\0\0"),
        (b")\0", pair(b"N"), b"s\0\0\0\0"),
        (b")\0", b")\0", b"N"),
    ],
)
def test_fields_of_the_wrong_kind(consts, names, raw):
    assert parse(code(consts, names, raw)) is None


def test_each_name_once_and_in_order():
    deep = Code(("b", "c"), ("y",), ())
    assert everything(Code(("a", "b"), ("x", "x"), (deep, deep))) == (("a", "b", "c"), ("x", "y"))


def test_depth_and_size_end():
    for depth, found in ((20, True), (200, False)):
        consts = b"N"
        for _ in range(depth):
            consts = pair(consts)
        assert (parse(code(consts)) is not None) is found


# --- texts --------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=60))
def test_base64_is_decoded_with_line_ends(raw):
    assert decode(base64.b64encode(raw).decode()) == raw
    assert decode(base64.encodebytes(raw).decode()) == raw


@pytest.mark.parametrize(
    ("text", "raw"), [("abc", b"abc"), ("é", b"\xe9"), ("\u20ac", b"\\u20ac"), ("", b"")]
)
def test_other_texts_are_their_characters(text, raw):
    assert decode(text) == raw


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\0system\0os.path\xffab", ("system", "os.path")),
        (b"x9 _ab a-b", ("_ab",)),
        (b"same same", ("same",)),
        (b"", ()),
        (b"a" * 41, ("a" * 41,)),
    ],
)
def test_words_in_bytes_that_are_no_code(raw, words):
    assert guessed(raw) == words


def test_fifty_words_are_enough():
    assert len(guessed(b" ".join(b"word%d" % number for number in range(99)))) == 50
