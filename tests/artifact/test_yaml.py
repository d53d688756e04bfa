"""YAML as nodes: PyYAML's own constructor is the independent route."""

import json

import pytest
import yaml as library
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import yaml
from modelward.artifact.around import nodes
from modelward.artifact.reading import Malformed
from modelward.artifact.yaml import Mapping, Scalar, Sequence, parse, walk


def plain(node):
    """A node as texts, lists and dictionaries, without the keys that merges stood under."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    pairs = [pair for pair in node.pairs if not (pair[0].plain and pair[0].value == "<<")]
    return {plain(key): plain(value) for key, value in pairs}


def read(text):
    return [plain(node) for node in parse(text)]


def built(text):
    """What PyYAML builds when every scalar is a text and merges are resolved."""
    return list(library.load_all(text, Loader=Texts))


LOADER = getattr(library, "CSafeLoader", library.SafeLoader)


class Texts(library.SafeLoader):
    """A safe loader that keeps scalars as texts."""


for tag in ("bool", "int", "float", "null", "timestamp", "binary"):
    Texts.add_constructor(f"tag:yaml.org,2002:{tag}", lambda loader, node: node.value)


TEXTS = [
    "a: 1",
    "a: 1\nb: 2\na: 3",
    "- 1\n- [2, 3]\n- {x: y}",
    "a: |\n  one\n  two\nb: >\n  one\n  two",
    "'a b': \"c\\td\"",
    "a: &x {p: 1}\nb: *x\nc: [*x, *x]",
    "base: &b {p: 1, q: 2}\nuse:\n  <<: *b\n  q: 3",
    "base: &b {p: 1}\nuse:\n  p: 0\n  <<: *b",
    "one: &a {p: 1, q: 1}\ntwo: &b {q: 2, r: 2}\nuse: {<<: [*a, *b]}",
    "one: &a {p: 1}\ntwo: &b {<<: *a, q: 2}\nuse: {<<: *b, r: 3}",
    "--- 1\n--- two\n---\n- 3\n...",
    "true",
    "a: yes\nb: null\nc: 1.5\nd: 2001-01-01\ne: 0x10",
    "? a\n: b",
    "a: # comment\n  - 1 # more\n",
    "\ufeffa: 1",
    "{a: {b: {c: [1, [2, [3]]]}}}",
    "a: ''\nb: \"\"\n",
    "%YAML 1.1\n---\na: 1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_it_agrees_with_pyyaml(text):
    assert read(text) == built(text)


def test_nothing_is_no_document():
    assert parse("") == []
    assert parse("# a comment\n") == []


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("!!python/name:os.system ''", "tag:yaml.org,2002:python/name:os.system"),
        ("!!python/object/apply:os.system [id]", "tag:yaml.org,2002:python/object/apply:os.system"),
        ("!mine {a: 1}", "!mine"),
        ("!<tag:yaml.org,2002:python/object/new:x.Y> 1", "tag:yaml.org,2002:python/object/new:x.Y"),
        (
            "%TAG !p! tag:yaml.org,2002:python/\n---\n!p!name:os.system ''",
            "tag:yaml.org,2002:python/name:os.system",
        ),
        ("!!str 1", "tag:yaml.org,2002:str"),
        ("plain", ""),
        ("[1]", ""),
    ],
)
def test_tags_are_resolved_and_kept(text, tag):
    assert parse(text)[0].tag == tag


@pytest.mark.parametrize(
    ("text", "is_plain"), [("a", True), ("'a'", False), ('"a"', False), ("|\n  a", False), ("!!str a", False)]
)
def test_quotes_say_that_a_text_is_a_text(text, is_plain):
    (node,) = parse(text)
    assert node.plain is is_plain


def test_lines_count_from_one():
    (root,) = parse("# x\na: 1\nb:\n  - c\n  - {d: e}\n")
    assert root.line == 2
    assert [key.line for key, _ in root.pairs] == [2, 3]
    assert [item.line for item in root.get("b").items] == [4, 5]
    first, second = parse("a\n---\nb")
    assert (first.line, second.line) == (1, 3)


def test_an_alias_is_the_very_node():
    (root,) = parse("a: &x [1]\nb: *x")
    assert root.get("a") is root.get("b")


def test_the_last_of_repeated_keys_is_taken():
    (root,) = parse("a: 1\na: [2]\nb: x\nb: {}")
    assert root.text("a") is None
    assert plain(root.get("a")) == ["2"]
    assert root.text("c") is None
    assert parse("a: 1\na: 2")[0].text("a") == "2"


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "{a: 1",
        "a: b: c",
        "\ta: 1",
        "*nothing",
        "a: *later\nb: &later 1",
        "&x 1\n---\n*x",
        "'open",
        "%YAML 9.9\n---\na",
        "a: @b",
        "a: \x01",
        "- a\nb: c",
        "!unknown!x a",
    ],
)
def test_what_is_no_yaml_is_malformed(text):
    with pytest.raises(Malformed):
        parse(text)


def test_limits_are_exact(monkeypatch):
    monkeypatch.setattr(yaml, "LONGEST", 10)
    assert read("a: 4567890") == [{"a": "4567890"}]
    with pytest.raises(Malformed, match="11 characters of YAML; 10 are read"):
        parse("a: 45678901")


@pytest.mark.parametrize("open_close", ["[]", "{}"])
def test_depth_ends_at_its_limit(open_close):
    first, last = open_close
    inside = "" if first == "[" else "a: "
    for depth, good in ((yaml.DEPTH, True), (yaml.DEPTH + 1, False)):
        text = (first + inside) * depth + last * depth
        if good:
            assert len(parse(text)) == 1
        else:
            with pytest.raises(Malformed, match="100 levels"):
                parse(text)


def test_the_number_of_nodes_ends_at_its_limit(monkeypatch):
    monkeypatch.setattr(yaml, "NODES", 20)
    # four events open and close the stream and the document, two the list
    assert len(parse("[" + "1," * 14 + "]")[0].items) == 14
    with pytest.raises(Malformed, match="more than 20 nodes"):
        parse("[" + "1," * 15 + "]")


def test_merges_are_bounded(monkeypatch):
    monkeypatch.setattr(yaml, "MERGED", 3)
    (root,) = parse("a: &a {p: 1, q: 2, r: 3, s: 4}\nuse: {<<: *a}")
    assert [key.value for key, _ in root.get("use").pairs] == ["<<", "p", "q"]


def test_a_quoted_merge_key_merges_nothing():
    (root,) = parse("a: &a {p: 1}\nuse: {'<<': *a}")
    assert root.get("use").text("p") is None
    assert plain(root.get("use")) == {"<<": {"p": "1"}}


def test_each_node_is_visited_once_and_in_order():
    (root,) = parse("a: &x [1, 2]\nb: *x\nc: {d: *x}")
    seen = list(walk(root))
    assert len({id(node) for node in seen}) == len(seen)
    assert [node.value for node in seen if isinstance(node, Scalar)] == ["a", "1", "2", "b", "c", "d"]


def test_a_circle_ends():
    (root,) = parse("&x [*x, 1]")
    assert [type(node) for node in walk(root)] == [Sequence, Scalar]
    (bomb,) = parse(
        "a: &a [1]\n"
        + "".join(f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    )
    assert len(list(walk(bomb))) < 40


VALUES = st.recursive(
    st.text("abc:-#&*!|>'\"%@ \té\n0", max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc:# ", max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES, st.booleans())
def test_what_the_library_writes_is_read_back(value, flow):
    text = library.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    assert read(text) == [value]


@settings(deadline=None)
@given(VALUES.filter(lambda value: not isinstance(value, str)))
def test_json_is_yaml(value):
    assert read(json.dumps(value)) == [value]


@settings(deadline=None)
@given(st.text("ab:-#&*!|>[]{},'\"?%@ \n", max_size=40))
def test_any_text_is_read_as_the_library_reads_it_or_malformed(text):
    try:
        found = parse(text)
    except Malformed:
        with pytest.raises((library.YAMLError, ValueError)):
            list(library.compose_all(text, Loader=LOADER))
        return
    assert len(found) == len(list(library.compose_all(text, Loader=LOADER)))


# --- looking at nodes by their keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {p: 1, q: 2}\nuse: {<<: *b, q: 3}",
        "base: &b {p: 1}\nuse: {p: 0, <<: *b}",
        "one: &a {p: 1, q: 1}\ntwo: &b {q: 2}\nuse: {<<: [*a, *b]}",
        "one: &a {p: 1}\ntwo: &b {<<: *a, q: 2}\nuse: {<<: *b, r: 3}",
    ],
)
def test_documents_resolve_merges_as_pyyaml_does(text):
    (root,) = nodes.documents(text.encode())
    found = {
        key: plain(value) for key, (_, value) in nodes.fields(nodes.at(root, "use")).items() if key != "<<"
    }
    assert found == built(text)[0]["use"]


def test_documents_of_a_file():
    assert [plain(node) for node in nodes.documents(b"\xef\xbb\xbfa: 1\n---\nb\n")] == [{"a": "1"}, "b"]
    assert plain(nodes.documents(b"a: \xff")[0]) == {"a": "\ufffd"}
    with pytest.raises(Malformed):
        nodes.documents(b"a: [")


ROOT = parse("a:\n  b: {c: text, d: [1, '', {e: f}], t: True}\n  b2: ''\nlist: [x, [y], z]\n")[0]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a", "b", "c"), "text"),
        (("a", "b2"), ""),
        (("a",), ""),
        (("a", "b", "c", "x"), ""),
        (("z",), ""),
        ((), ""),
    ],
)
def test_texts_by_path(path, found):
    assert nodes.text(ROOT, *path) == found


def test_nodes_by_path():
    assert nodes.at(ROOT) is ROOT
    assert nodes.at(None, "a") is None
    assert nodes.at(ROOT, "list", "x") is None
    assert isinstance(nodes.at(ROOT, "a", "b"), Mapping)


@pytest.mark.parametrize(
    ("text", "truth"),
    [("true", True), ("True", True), ("TRUE", True), ("yes", False), ("1", False), ("[true]", False)],
)
def test_truth(text, truth):
    (root,) = parse(f"k: {text}")
    assert nodes.true(root, "k") is truth


def test_items_and_texts_and_command_lines():
    listed = nodes.at(ROOT, "list")
    assert [plain(node) for node in nodes.items(listed)] == ["x", ["y"], "z"]
    assert [one.value for one in nodes.texts(listed)] == ["x", "z"]
    assert nodes.items(None) == []
    assert [plain(node) for node in nodes.items(nodes.at(ROOT, "a", "b", "c"))] == ["text"]
    assert nodes.joined(listed, None, nodes.at(ROOT, "a", "b2")) == "x z ''"


def test_fields_have_the_line_of_their_key_and_the_last_value():
    (root,) = parse("a: 1\nb: 2\na: 3\n[1]: 4")
    found = nodes.fields(root)
    assert {key: (line, plain(value)) for key, (line, value) in found.items()} == {
        "a": (3, "3"),
        "b": (2, "2"),
    }
    assert nodes.fields(parse("[1]")[0]) == {}
    assert nodes.fields(None) == {}
