"""Jinja's expressions as trees and values: Jinja itself parses and renders beside them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import fold, folding, template
from modelward.artifact.formats.template import CHAIN, DEPTH, parse
from modelward.artifact.reading import Exhausted, Malformed, Reading

jinja2 = pytest.importorskip("jinja2", reason="Jinja itself is the other route")
ENVIRONMENT = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"])


def tree(text):
    """The expression of an output, as nested tuples."""

    def shown(node):
        value = (node.value,) if node.value is not None or node.kind == "const" else ()
        return (node.kind, *value, *map(shown, node.kids))

    (tag,) = parse("{{ " + text + " }}", Reading())
    return shown(tag.exprs[0])


A, B, C = ("name", "a"), ("name", "b"), ("name", "c")

TREES = [
    ("a", A),
    ("1", ("const", 1)),
    ("1_000", ("const", 1000)),
    ("0x1F", ("const", 31)),
    ("0b11", ("const", 3)),
    ("0o17", ("const", 15)),
    ("1.5", ("const", 1.5)),
    ("1e3", ("const", 1000.0)),
    ("'a'", ("const", "a")),
    ('"a"', ("const", "a")),
    (r"'\x41\n'", ("const", "A\n")),
    ("true", ("const", True)),
    ("False", ("const", False)),
    ("none", ("const", None)),
    ("a.b", ("attr", "b", A)),
    ("a['b']", ("item", A, ("const", "b"))),
    ("a()", ("call", A)),
    ("a(b, c)", ("call", A, B, C)),
    ("a(b, k=c)", ("call", A, B, C)),
    ("a.b.c()", ("call", ("attr", "c", ("attr", "b", A)))),
    ("a|b", ("filter", "b", A)),
    ("a|b(c)", ("filter", "b", A, C)),
    ("a|b|c", ("filter", "c", ("filter", "b", A))),
    ("(a)", A),
    ("[a, b]", ("list", A, B)),
    ("(a, b)", ("list", A, B)),
    ("{a: b}", ("dict", A, B)),
    ("[]", ("list",)),
]


@pytest.mark.parametrize(("text", "expected"), TREES)
def test_trees_of_expressions(text, expected):
    assert tree(text) == expected


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a * b + c", "(a * b) + c"),
        ("a - b - c", "(a - b) - c"),
        ("a ~ b + c", "(a ~ b) + c"),
        ("a ** b * c", "(a ** b) * c"),
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("a if b else c", "(a) if (b) else (c)"),
        ("a.b|c", "(a.b)|c"),
        ("a < b", "(a) < (b)"),
        ("a in b", "(a) in (b)"),
        ("a // b % c", "(a // b) % c"),
    ],
)
def test_precedence(one, same):
    assert tree(one) == tree(same)


BROKEN = [
    "{{ a",
    "{{ a }",
    "{{ ( }}",
    "{{ ) }}",
    "{{ (] }}",
    "{{ a b }}",
    "{{ 'a }}",
    "{{ a. }}",
    "{{ a| }}",
    "{{ $ }}",
    "{{ a[ }}",
    "{# open",
    "{% if %}",
    "{% for a b %}",
    "{% set %}",
    "{{ '\\xZZ' }}",
    "{{ '\\N{no such}' }}",
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_jinja_refuses_is_malformed(text):
    with pytest.raises(jinja2.TemplateSyntaxError):
        ENVIRONMENT.parse(text)
    with pytest.raises(Malformed):
        parse(text, Reading())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a{{ b }}c", ["text", "print", "text"]),
        ("{# note #}", []),
        ("a{# note #}b", ["text", "text"]),
        ("{% raw %}{{ a }}{% endraw %}", ["text"]),
        ("{%- raw -%}{{ a }}{%- endraw -%}", ["text"]),
        ("{% if a %}b{% elif c %}{% else %}{% endif %}", ["if", "text", "elif", "else", "endif"]),
        ("{%- for x in y -%}{{ x }}{%- endfor -%}", ["for", "print", "endfor"]),
        ("{{- a -}}", ["print"]),
        ("{{+ a +}}", ["print"]),
        ("{% set a = 1 %}", ["set"]),
        ("{{ '}}' }}", ["print"]),
        ("{{ {'a': {}} }}", ["print"]),
        ("}} %} #}", ["text"]),
        ("", []),
    ],
)
def test_pieces_of_a_template(text, names):
    tags = parse(text, Reading())
    assert [tag.name for tag in tags] == names
    places = [tag.pos for tag in tags]
    assert places == sorted(places)


def test_depth_and_length_end():
    assert tree("(" * (DEPTH // 2) + "a" + ")" * (DEPTH // 2)) == A
    for text in (
        "(" * 2000 + "a" + ")" * 2000,
        "a" + ".b" * (CHAIN + 9),
        "a" + "|b" * (CHAIN + 9),
    ):
        with pytest.raises(Malformed):
            tree(text)


def test_pieces_are_steps(monkeypatch):
    from modelward.artifact import reading

    monkeypatch.setattr(reading, "STEPS", 20)
    with pytest.raises(Exhausted):
        parse("{{ a }}" * 30, Reading())


PIECES = st.lists(
    st.sampled_from(
        [
            "a",
            "1",
            "'b'",
            "+",
            "~",
            "*",
            "(",
            ")",
            "[",
            "]",
            ".",
            "|",
            ",",
            " if c else ",
            "=",
            "{",
            "}",
            ":",
        ]
    ),
    max_size=9,
)


@settings(deadline=None, max_examples=300)
@given(PIECES.map("".join))
def test_what_jinja_parses_is_parsed(text):
    whole = "{{ " + text + " }}"
    try:
        ENVIRONMENT.parse(whole)
    except jinja2.TemplateSyntaxError:
        return
    assert [tag.name for tag in parse(whole, Reading())][:1] == ["print"]


# --- values -------------------------------------------------------------------------------------------------


def values(text):
    into = Reading()
    tags = parse("{{ " + text + " }}", into)
    return fold.Values(into, tags).of(tags[0].exprs[0])


def rendered(text):
    return ENVIRONMENT.from_string("{{ " + text + " }}").render()


TEXTS = ["'ab'", "'a b'", "'__x__'", "'A'", "'%s'", "''", "'a,b'", "'_' * 2"]
FILTERS = [
    "upper",
    "lower",
    "capitalize",
    "title",
    "reverse",
    "trim",
    "first",
    "last",
    "string",
    "replace('a', '_')",
    "list|join",
    "list|join('-')",
    "list|first",
    "format('x')",
    "default('y')",
    "safe",
    "list|last",
    "reverse|join",
    "upper|lower",
]


@pytest.mark.parametrize(("text", "name"), list(itertools.product(TEXTS, FILTERS)))
def test_filters_on_constants_are_those_of_jinja(text, name):
    whole = f"({text})|{name} ~ ''"
    try:
        expected = rendered(whole)
    except (TypeError, jinja2.UndefinedError):
        assert isinstance(values(whole).strings(), frozenset)
        return
    if expected:
        assert expected in values(whole).strings()


METHODS = [
    "upper()",
    "lower()",
    "title()",
    "capitalize()",
    "swapcase()",
    "casefold()",
    "strip()",
    "strip('_')",
    "split()[0]",
    "split(',')[0]",
    "replace('a', 'b')",
    "format('x')",
]


@pytest.mark.parametrize(
    ("text", "method"), list(itertools.product(["'ab'", "'__A__'", "'a,b c'", "'{}'"], METHODS))
)
def test_methods_on_constants_are_those_of_python(text, method):
    whole = f"{text}.{method} ~ ''"
    assert rendered(whole) in values(whole).strings()


@settings(deadline=None, max_examples=100)
@given(st.recursive(st.sampled_from(["'__'", "'class'", "'a'", "'B'"]), lambda inner: st.tuples(inner, st.sampled_from(["~", "+"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})") | st.tuples(inner, st.sampled_from(["upper", "lower", "reverse", "trim", "list|join"])).map(lambda t: f"({t[0]})|{t[1]}"), max_leaves=6))  # fmt: skip
def test_what_is_put_together_is_found(text):
    assert rendered(f"({text}) ~ ''") in values(f"({text}) ~ ''").strings()


FOLDED = [
    ("join", (("a", "b"), "-"), ["a-b"]),
    ("join", (("a", "b"),), ["ab"]),
    ("join", (5,), []),
    ("reverse", ("abc",), ["cba"]),
    ("reverse", ((1, 2),), [(2, 1)]),
    ("reverse", (5,), []),
    ("replace", ("aba", "a", "x"), ["xbx"]),
    ("replace", ("a", "b"), []),
    ("replace", ("a" * 3000, "a", "bb"), []),
    ("upper", ("a",), ["A"]),
    ("upper", (5,), []),
    ("title", ("ab cd",), ["Ab Cd"]),
    ("title", ("__a__",), ["__A__", "__a__"]),
    ("title", ("a-b(c",), ["A-B(C"]),
    ("title", (5,), []),
    ("strip", (" a ",), ["a"]),
    ("strip", ("xax", "x"), ["a"]),
    ("strip", ("a", 5), []),
    ("first", ("ab",), ["a"]),
    ("first", ("",), []),
    ("last", ((1, 2),), [2]),
    ("last", ((),), []),
    ("list", ("ab",), [("a", "b")]),
    ("list", (5,), []),
    ("string", (5,), ["5"]),
    ("string", (None,), []),
    ("split", ("a b",), [("a", "b")]),
    ("split", ("a,b", ","), [("a", "b")]),
    ("split", ("a", ""), []),
    ("format", ("%s-%c", "a", 95), ["a-_"]),
    ("format", ("%s",), []),
    ("format", ("%9999d", 1), []),
    ("format", ("%*d", 5, 1), []),
    ("format", ("%d", "a"), []),
    ("str_format", ("{}{}", "a", "b"), ["ab"]),
    ("str_format", ("{1}{0}", "a", "b"), ["ba"]),
    ("str_format", ("{0.real}", 1), []),
    ("str_format", ("{a}", 1), []),
    ("str_format", ("{:9999}", 1), []),
    ("str_format", ("{}",), []),
]


@pytest.mark.parametrize(("name", "items", "found"), FOLDED)
def test_each_fold(name, items, found):
    assert folding.FOLDS[name](list(items)) == found


def test_every_fold_is_tried_or_a_method_of_texts():
    plain = {"lower", "capitalize", "swapcase", "casefold", "trim", "lstrip", "rstrip"}
    assert {name for name, _, _ in FOLDED} | plain == set(folding.FOLDS)
    for name in plain - {"trim", "lstrip", "rstrip"}:
        assert folding.FOLDS[name](["aBc d"]) == [getattr(str, name)("aBc d")]
    assert not folding.PASSING & set(folding.FOLDS)


def test_a_string_is_decoded_as_jinja_decodes_it():
    for text in (r"'\x41'", r"'\u0041'", r"'\101'", r"'\\'", r"'\''", "'é'", r"'\n'"):
        assert template._unescape(text) == ENVIRONMENT.parse("{{ " + text + " }}").body[0].nodes[0].value


@pytest.mark.parametrize(
    "text",
    [
        "{{ x[('__cl' ~ 'ass__')|title] }}",
        "{{ x|attr(('__cl', 'ass__')|join|title) }}",
        "{{ x[('__cl' ~ 'ass__').lower()] }}",
    ],
)
def test_a_name_of_an_internal_that_a_filter_leaves_is_dangerous(text):
    from modelward.artifact.formats.jinja import judge

    into = Reading()
    judge(text, into, "t")
    assert "dangerous" in {event.level for event in into.events}
