"""PKCS#11 URIs: what RFC 7512 allows, and the part of it that names one private key."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import KeyUnusable
from modelward.vault.keys.uris import TokenKey, parse_uri

SOFT, SHORT = "The Software PKCS#11 Softtoken", "t"


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("pkcs11:object=k", TokenKey(object="k")),
        ("pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;object=my-sign-key;type=private",
         TokenKey(token=SOFT, object="my-sign-key")),
        ("pkcs11:token=t;manufacturer=Snake%20Oil,%20Inc.;serial=1a;model=1.0;id=%69%95%3E%5C",
         TokenKey(token=SHORT, manufacturer="Snake Oil, Inc.", serial="1a", model="1.0", id=b"\x69\x95\x3e\x5c")),
        ("pkcs11:object=k?pin-source=file:/etc/token", TokenKey(object="k", pin_source="/etc/token")),
        ("pkcs11:object=k?pin-source=file:///etc/token", TokenKey(object="k", pin_source="/etc/token")),
        ("pkcs11:object=k?pin-source=/etc/token&module-path=/usr/lib/p.so",
         TokenKey(object="k", pin_source="/etc/token", module_path="/usr/lib/p.so")),
        ("pkcs11:object=k?pin-source=env:PIN", TokenKey(object="k", pin_source="env:PIN")),
        ("pkcs11:object=%d0%ba", TokenKey(object="к")),
    ],
)  # fmt: skip
def test_they_are_read(uri, key):
    assert parse_uri(uri) == key


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "no URI"),
        ("PKCS11:object=k", "no URI"),
        ("pkcs11:", "names no key"),
        ("pkcs11:token=t", "names no key"),
        ("pkcs11:object=k;object=k", "twice"),
        ("pkcs11:object=k;x-vendor=1", "none of"),
        ("pkcs11:object=k;slot-id=1", "none of"),
        ("pkcs11:object", "none of"),
        ("pkcs11:object=a b", "percent-encoded"),
        ("pkcs11:object=%zz", "percent-encoded"),
        ("pkcs11:object=a#b", "percent-encoded"),
        ("pkcs11:object=%ff", "UTF-8"),
        ("pkcs11:object=k;id=", "empty"),
        ("pkcs11:object=k;type=public", "no private key"),
        ("pkcs11:object=k?pin-source=|rm%20-rf", "no command"),
        ("pkcs11:object=k?pin-source=relative", "no command"),
        ("pkcs11:object=k?pin-source=https://host/pin", "no command"),
        ("pkcs11:object=k?pin-source=/a%00b", "no command"),
        ("pkcs11:object=k?pin-source=file://host/pin", "no command"),
        ("pkcs11:object=k?pin-source=file://env:PIN", "no command"),
        ("pkcs11:object=k?pin-source=file:relative", "no command"),
        ("pkcs11:object=k?pin-source=env:", "no command"),
        ("pkcs11:object=k?module-name=softhsm2", "module-path"),
        ("pkcs11:object=k?module-path=libsofthsm2.so", "absolute"),
        ("pkcs11:object=" + "k" * 3000, "no URI"),
    ],
)
def test_they_are_refused(uri, said):
    with pytest.raises(KeyUnusable, match=said):
        parse_uri(uri)


def test_a_pin_is_refused_and_not_repeated():
    with pytest.raises(KeyUnusable, match="command line") as caught:
        parse_uri("pkcs11:object=k?pin-value=739154")
    assert "739154" not in str(caught.value) + caught.value.advice


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(object_=TEXT, token=TEXT, id_=st.binary(min_size=1, max_size=20))
def test_what_is_encoded_is_read_back(object_, token, id_):
    uri = f"pkcs11:token={quote(token, safe='')};object={quote(object_, safe='')};id={quote(id_, safe='')}"
    assert parse_uri(uri) == TokenKey(token=token, object=object_, id=id_)


@given(
    st.text(alphabet="pkcs1:objectidtokenmodulepinsource-path=;&?%/0aé \n", max_size=80).map(
        "pkcs11:".__add__
    )
)
def test_any_text_is_read_or_refused(text):
    try:
        key = parse_uri(text)
    except KeyUnusable:
        return
    assert key.object is not None or key.id is not None


@given(st.text(max_size=60))
def test_any_text_at_all_is_refused_or_begins_so(text):
    try:
        parse_uri(text)
    except KeyUnusable:
        return
    assert text.startswith("pkcs11:")
