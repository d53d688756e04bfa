"""Names of targets that are put together by OmegaConf are judged by what they become."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import interpolate
from modelward.artifact.verdict import inspect_bytes
from modelward.artifact.yaml import Mapping, parse

DOCUMENTS = {
    "a key": "x: os.system\ny:\n  _target_: ${x}\n",
    "two keys": "a: os\nb: system\ny:\n  _target_: ${a}.${b}\n",
    "part of a name": "b: system\ny:\n  _target_: os.${b}\n",
    "a path": "a: {b: os.system}\ny:\n  _target_: ${a.b}\n",
    "brackets": "a: {b: os.system}\ny:\n  _target_: ${a[b]}\n",
    "a list": "l: [os.system]\ny:\n  _target_: ${l[0]}\n",
    "relative": "y:\n  z: os.system\n  _target_: ${.z}\n",
    "nested": "k: b\na: {b: os.system}\ny:\n  _target_: ${a.${k}}\n",
    "a chain": "a: ${b}\nb: os.system\ny:\n  _target_: ${a}\n",
    "oc.select": "y:\n  _target_: ${oc.select:nope,os.system}\n",
    "oc.env": "y:\n  _target_: ${oc.env:NOPE,os.system}\n",
    "oc.decode": "y:\n  _target_: ${oc.decode:os.system}\n",
    "oc.decode of text": "y:\n  _target_: ${oc.decode:'os.system'}\n",
    "oc.deprecated": "z: os.system\ny:\n  _target_: ${oc.deprecated:z}\n",
    "oc.create": "y: ${oc.create:{_target_:os.system,_args_:[id]}}\n",
    "through an anchor": "a: &a os.system\nx: *a\ny:\n  _target_: ${x}\n",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_interpolated_payload_is_dangerous(name):
    assert inspect_bytes(DOCUMENTS[name].encode(), "config.yaml").verdict == "dangerous"


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {"oc.create"}))
def test_omegaconf_resolves_it_the_same_way(name, monkeypatch):
    """An independent route: the library itself."""
    omegaconf = pytest.importorskip("omegaconf")
    monkeypatch.delenv("NOPE", raising=False)
    whole = omegaconf.OmegaConf.create(DOCUMENTS[name])
    (root,) = parse(DOCUMENTS[name])
    near = root.get("y")
    assert interpolate.resolved(near.text("_target_"), root, near)[0] == whole.y._target_


@pytest.mark.parametrize(
    "text",
    [
        "m: {target: torch.nn.Linear}\ny:\n  _target_: ${m.target}\n",
        "y:\n  _target_: ${elsewhere.target}\n",
        "y:\n  _target_: torch.nn.Linear\n  in_features: ${m.width}\n",
        "y:\n  _target_: torch.optim.${name}\nname: Adam\n",
    ],
)
def test_usual_interpolations_are_harmless(text):
    assert inspect_bytes(text.encode(), "config.yaml").verdict == "inert"


@pytest.mark.parametrize(
    "text", ["x: ${x}\ny:\n  _target_: ${x}\n", "a: ${b}\nb: ${a}${a}\ny:\n  _target_: ${a}\n"]
)
def test_circles_end(text):
    assert inspect_bytes(text.encode(), "config.yaml").verdict in {"inert", "unproven"}


@given(st.text("${}a.b:[0],'", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_becomes_a_text(text):
    (root,) = parse("a: {b: [x, '${a.b}']}\n")
    assert isinstance(root, Mapping)
    assert "${" not in interpolate.resolved(text, root, root)[0]
