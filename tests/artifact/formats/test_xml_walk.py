"""XML element by element: ElementTree is the independent route, and nothing is fetched or expanded."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import reading
from modelward.artifact.formats.xml import DEPTH, root, walk
from modelward.artifact.reading import Exhausted, Malformed, Reading


class Taken:
    """A handler that writes down what it is given."""

    def __init__(self):
        self.elements, self.closed, self.words = [], [], []

    def start(self, name, attributes, depth):
        self.elements.append((name, attributes, depth))

    def end(self, name):
        self.closed.append(name)

    def text(self, text):
        self.words.append(text)


def read(text):
    into, handler = Reading(), Taken()
    walk(text if isinstance(text, bytes) else text.encode(), into, handler)
    return into, handler


def said(text):
    return [(event.level, event.rule) for event in read(text)[0].events]


def expected(element, depth=1):
    yield element.tag, element.attrib, depth
    for child in element:
        yield from expected(child, depth + 1)


TEXT = st.text("ab <&>\"'é\n", max_size=8)


@st.composite
def elements(draw, depth=0):
    made = ET.Element(
        draw(st.sampled_from("abc")), draw(st.dictionaries(st.sampled_from("xyz"), TEXT, max_size=2))
    )
    made.text = draw(TEXT)
    for child in draw(st.lists(elements(depth + 1), max_size=3)) if depth < 3 else []:
        child.tail = draw(TEXT)
        made.append(child)
    return made


@settings(deadline=None, max_examples=80)
@given(elements(), st.sampled_from(["utf-8", "utf-16", "latin-1", "us-ascii"]))
def test_it_agrees_with_elementtree(element, encoding):
    data = ET.tostring(element, encoding)
    into, found = read(data)
    parsed = ET.fromstring(data)  # noqa: S314  written one line above
    assert found.elements == list(expected(parsed))
    assert "".join(found.words) == "".join(parsed.itertext())
    assert sorted(found.closed) == sorted(name for name, _, _ in found.elements)
    assert into.events == []
    assert root(data) == (parsed.tag, " ".join(parsed.attrib))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<a/>", ("a", "")),
        ("<p:a x='1' y='2'/>", ("a", "x y")),
        ("<!-- <b/> --><a>", ("a", "")),
        ("<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e 'x'>]><a>", ("a", "")),
        ("  <a><broken", ("a", "")),
        ("<a", None),
        ("", None),
        ("text", None),
        ("{}", None),
        ("<!-- " + "x" * 40_000 + " --><a/>", ("a", "")),
        ("<?xml version='1.0' encoding='no-such'?><a/>", None),
    ],
)
def test_the_root_alone(text, found):
    assert root(text.encode()) == found


FETCHED = [
    ("<!DOCTYPE a SYSTEM 'http://h/x.dtd'><a/>", [("dangerous", "xml.external-doctype")]),
    ("<!DOCTYPE a PUBLIC '-//X' 'file:///etc/passwd'><a/>", [("dangerous", "xml.external-doctype")]),
    ("<!DOCTYPE a PUBLIC 'pmml' 'http://www.dmg.org/v2-0/pmml_v2_0.dtd'><a/>", [("note", "xml.doctype")]),
    ("<!DOCTYPE a SYSTEM 'pmml20.dtd'><a/>", [("note", "xml.doctype")]),
    (
        "<!DOCTYPE a SYSTEM 'http://evil.org/?https://dmg.org.evil/x'><a/>",
        [("dangerous", "xml.external-doctype")],
    ),
    ("<!DOCTYPE a><a/>", []),
    ("<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a/>", [("dangerous", "xml.external-entity")]),
    ("<!DOCTYPE a [<!ENTITY e PUBLIC 'p' 'http://h/'>]><a/>", [("dangerous", "xml.external-entity")]),
    ("<!DOCTYPE a [<!ENTITY % e SYSTEM 'http://h/'> %e;]><a/>", [("dangerous", "xml.external-entity")]),
    ("<!DOCTYPE a [<!ENTITY e 'text'>]><a>&e;</a>", []),
    ("<!DOCTYPE a [<!ENTITY e '<b/>'>]><a/>", [("unproven", "xml.entity-markup")]),
    ("<a><xi:include xmlns:xi='x' href='file:///etc/passwd'/></a>", [("dangerous", "xml.include")]),
    ("<a><include href='x'/></a>", [("dangerous", "xml.include")]),
    ("<a><include/></a>", []),
    ("<a><includes href='x'/></a>", []),
    ("<?xml-stylesheet href='http://h/x.xsl'?><a/>", [("note", "xml.stylesheet")]),
    ("<?other href='http://h/x.xsl'?><a/>", []),
    ("<a href='http://h/'/>", []),
]


@pytest.mark.parametrize(("text", "events"), FETCHED)
def test_what_is_fetched_and_what_is_not(text, events):
    assert said(text) == events


def test_the_text_of_an_entity_is_handed_over_and_not_expanded():
    _, found = read("<!DOCTYPE a [<!ENTITY e 'exec(1)'>]><a>&e;&e;</a>")
    assert found.words.count("exec(1)") == 1


def entities(levels, factor=10, start="lol"):
    lines = [f"<!ENTITY e0 '{start}'>"]
    lines += [f"<!ENTITY e{n} '{f'&e{n - 1};' * factor}'>" for n in range(1, levels + 1)]
    return f"<!DOCTYPE a [{''.join(lines)}]><a/>"


@pytest.mark.parametrize(
    ("levels", "bomb"), [(1, False), (4, False), (5, False), (6, True), (9, True), (60, True)]
)
def test_entities_that_explode(levels, bomb):
    assert (("dangerous", "xml.entity-bomb") in said(entities(levels))) is bomb


def test_one_long_entity_is_a_bomb_at_its_limit():
    for size, bomb in ((1_000_000, False), (1_000_001, True)):
        assert (("dangerous", "xml.entity-bomb") in said(entities(0, start="x" * size))) is bomb


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a x=1/>",
        "<a x='1' x='2'/>",
        "<a>&undefined;</a>",
        "<a>\x01</a>",
        "<a/>text",
        "<?xml version='1.0' encoding='no-such'?><a/>",
        b"<a>\xff</a>",
    ],
)
def test_what_is_no_xml(text):
    with pytest.raises(Malformed):
        read(text)


def test_truncation_is_malformed_at_every_byte():
    text = b"<?xml version='1.0'?><a x='1'><b>text</b><c/></a>"
    read(text)
    for end in range(len(text)):
        with pytest.raises(Malformed):
            read(text[:end])


def test_depth_ends_at_its_limit():
    _, found = read("<a>" * DEPTH + "</a>" * DEPTH)
    assert max(depth for _, _, depth in found.elements) == DEPTH
    with pytest.raises(Malformed, match="deeper than 2000"):
        read("<a>" * (DEPTH + 1) + "</a>" * (DEPTH + 1))


def test_elements_are_steps(monkeypatch):
    monkeypatch.setattr(reading, "STEPS", 10)
    read("<a>" + "<b/>" * 8 + "</a>")
    with pytest.raises(Exhausted):
        read("<a>" + "<b/>" * 12 + "</a>")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [
                "<a>",
                "</a>",
                "<b/>",
                "&e;",
                "<!DOCTYPE a [",
                "]>",
                "<!ENTITY e 'x'>",
                "<!--",
                "-->",
                "<?x?>",
                "t",
                "<![CDATA[",
                "]]>",
            ]
        ),
        max_size=9,
    )
)
def test_any_pieces_are_read_or_malformed(pieces):
    text = "".join(pieces)
    try:
        read(text)
    except Malformed:
        return
    ET.fromstring(text)  # noqa: S314  built of the pieces above
