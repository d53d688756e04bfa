"""DSSE envelopes and in-toto statements: the specification's example, a second implementation, strict JSON."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import SealDamaged
from modelward.vault import dsse
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner, Verifier

KEY = asymmetric.generate("ed25519")
SIGNER = LocalSigner(KEY)
STATEMENT = dsse.Statement(
    subjects=(("m", {"sha256": "00" * 32}),),
    predicate_type="https://example.com/v1",
    predicate={"b": 1, "a": []},
)


def test_the_encoding_of_the_specification():
    """DSSE v1.0.2, protocol.md, test vectors."""
    assert (
        dsse.pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_signature_of_the_specification():
    """The same vectors: ECDSA P-256 with SHA-256, r and s beside each other instead of DER."""
    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    envelope = dsse.from_json(
        {
            "payload": "aGVsbG8gd29ybGQ=",
            "payloadType": "http://example.com/HelloWorld",
            "signatures": [
                {
                    "sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
                }
            ],
        }
    )
    raw = envelope.signatures[0].sig
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    Verifier(asymmetric.public_pem(key)).verify(der, envelope.signed_bytes())


@given(st.text(max_size=20), st.binary(max_size=40))
def test_the_encoding_beside_a_second_implementation(kind, payload):
    from securesystemslib.dsse import Envelope as Peer

    try:
        kind.encode()
    except UnicodeEncodeError:
        return
    assert dsse.pae(kind, payload) == Peer(payload, kind, []).pae()


def test_a_second_implementation_reads_the_envelope():
    from securesystemslib.dsse import Envelope as Peer

    value = dsse.to_json(dsse.sign(b"payload", [SIGNER], payload_type="text/plain"))
    read = Peer.from_dict(json.loads(json.dumps(value)))
    assert (read.payload, read.payload_type) == (b"payload", "text/plain")
    SIGNER.public.verify(bytes.fromhex(next(iter(read.signatures.values())).signature), read.pae())


def test_another_library_reads_the_statement():
    from google.protobuf import json_format
    from in_toto_attestation.v1.statement import Statement as Peer
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    Peer.copy_from_pb(json_format.Parse(STATEMENT.encode(), Message())).validate()


def test_what_is_written_is_read_back():
    envelope = dsse.sign(STATEMENT.encode(), [SIGNER, SIGNER])
    assert dsse.from_json(json.loads(json.dumps(dsse.to_json(envelope)))) == envelope
    assert dsse.statement_of(envelope) == STATEMENT
    assert len(envelope.signatures) == 2


def test_nobody_signs():
    with pytest.raises(ValueError, match="without signatures says nothing"):
        dsse.sign(b"", [])


def test_the_statement_is_canonical():
    assert STATEMENT.encode() == (
        b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"a":[],"b":1},'
        b'"predicateType":"https://example.com/v1","subject":[{"digest":{"sha256":"'
        + b"00" * 32
        + b'"},"name":"m"}]}'
    )


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("AA==", b"\0"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("-/+_", b"\xfb\xff\xbf"),
    ],
)
def test_both_alphabets_of_base64(text, data):
    assert dsse.decode64(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "AA===",
        "A=A=",
        "AA==AA==",
        " AA==",
        "AA==\n",
        "AB==",
        "AAB=",
        "é",
        "AA\0=",
        "A*==",
    ],
)
def test_what_is_not_the_one_spelling_in_base64(text):
    with pytest.raises(SealDamaged, match="base64"):
        dsse.decode64(text)


@given(st.binary(max_size=50))
def test_base64_is_read_back(data):
    assert dsse.decode64(base64.b64encode(data).decode()) == data
    assert dsse.decode64(base64.urlsafe_b64encode(data).decode()) == data


@given(st.text(max_size=12))
def test_any_text_has_one_spelling_or_none(text):
    try:
        data = dsse.decode64(text)
    except SealDamaged:
        return
    assert base64.b64encode(data).decode() == text.replace("-", "+").replace("_", "/")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nul",
        b"{'a': 1}",
        b'{"a": 1, "a": 1}',
        b'{"b": {"a": 1, "a": 2}}',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"[1,]",
        b"// a\n1",
        b"\xef\xbb\xbf1",
        b'"\xff"',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"9" * 5000,
        b"1 2",
    ],
)
def test_json_that_is_not_strict(text):
    with pytest.raises(SealDamaged, match="the thing is not JSON"):
        dsse.load(text, "the thing")


def test_strict_json():
    assert dsse.load(b' {"a": [1, 2.5, null, true, "\\u00e9"]}\n', "it") == {"a": [1, 2.5, None, True, "é"]}


def edited(**fields):
    value = dsse.to_json(dsse.sign(b"x", [SIGNER]))
    merged = {**value, **fields}
    return {key: item for key, item in merged.items() if item is not ...}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "no JSON object"),
        ([], "no JSON object"),
        ({}, "no JSON object with a list"),
        (edited(signatures=None), "list of signatures"),
        (edited(signatures={}), "list of signatures"),
        (edited(signatures=[]), "no signature"),
        (edited(signatures=[None]), "a text `sig`"),
        (edited(signatures=[{}]), "a text `sig`"),
        (edited(signatures=[{"sig": 1}]), "a text `sig`"),
        (edited(signatures=[{"sig": "AA==", "keyid": 1}]), "key id is no text"),
        (edited(signatures=[{"sig": "?"}]), "base64"),
        (edited(payload=None), "lacks its payload"),
        (edited(payload=...), "lacks its payload"),
        (edited(payload="?"), "base64"),
        (edited(payloadType=None), "lacks its payload"),
        (edited(payloadType=...), "payload's type"),
    ],
)
def test_envelopes_that_are_none(value, sentence):
    with pytest.raises(SealDamaged, match=sentence):
        dsse.from_json(value)


def test_fields_of_an_envelope_that_are_not_known_are_passed_over():
    """DSSE v1.0.2, envelope.md: consumers must ignore them; a key id that is not set is an empty one."""
    value = edited(more=1, signatures=[{"sig": "AA==", "keyid": None, "extension": {}}, {"sig": "AA=="}])
    assert [s.keyid for s in dsse.from_json(value).signatures] == ["", ""]


def enveloped(payload, kind=dsse.IN_TOTO):
    return dsse.sign(
        payload if isinstance(payload, bytes) else json.dumps(payload).encode(), [SIGNER], payload_type=kind
    )


def said(**fields):
    value = {**json.loads(STATEMENT.encode()), **fields}
    return {key: item for key, item in value.items() if item is not ...}


@pytest.mark.parametrize(
    ("envelope", "sentence"),
    [
        (enveloped(said(), "text/plain"), "'text/plain', no in-toto statement"),
        (enveloped(b"x"), "the statement is not JSON"),
        (enveloped([]), "no in-toto statement of version 1"),
        (enveloped(said(_type="https://in-toto.io/Statement/v0.1")), "version 1"),
        (enveloped(said(_type=...)), "version 1"),
        (enveloped(said(predicateType=1)), "lacks its subject"),
        (enveloped(said(predicate=[])), "lacks its subject"),
        (enveloped(said(predicate=...)), "lacks its subject"),
        (enveloped(said(subject={})), "lacks its subject"),
        (enveloped(said(subject=[1])), "a subject is no JSON object"),
        (enveloped(said(subject=[{"name": 1, "digest": {}}])), "lacks its name or digest"),
        (enveloped(said(subject=[{"name": "m"}])), "lacks its name or digest"),
        (enveloped(said(subject=[{"name": "m", "digest": {"sha256": 1}}])), "a digest is no text"),
    ],
)
def test_payloads_that_are_no_statement(envelope, sentence):
    with pytest.raises(SealDamaged, match=sentence):
        dsse.statement_of(envelope)


def test_a_subject_may_have_no_name():
    assert dsse.statement_of(enveloped(said(subject=[{"digest": {"sha1": "00"}}]))).subjects == (
        ("", {"sha1": "00"}),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(json_values)
def test_any_value_is_an_envelope_or_refused(value):
    with pytest.raises(SealDamaged):
        dsse.from_json(value)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("_type", "subject", "predicateType", "predicate", "x"), json_values)
    )
)
def test_any_fields_are_a_statement_or_refused(fields):
    try:
        payload = json.dumps(said(**fields), allow_nan=False)
    except ValueError:
        return
    try:
        read = dsse.statement_of(enveloped(payload.encode()))
    except SealDamaged:
        return
    assert read.predicate_type == fields.get("predicateType", STATEMENT.predicate_type)
    assert read.predicate == fields.get("predicate", STATEMENT.predicate)


@pytest.mark.parametrize(
    "text", [rb'"\ud800"', rb'"\uDC00x"', rb'{"\udfff": 1}', rb'[{"a": ["\ud83d\u0041"]}]']
)
def test_half_a_character_is_no_text(text):
    """Whatever encodes such a text later would fail where nobody expects it."""
    with pytest.raises(SealDamaged, match="the thing is not JSON"):
        dsse.load(text, "the thing")


@pytest.mark.parametrize(
    ("text", "value"),
    [(rb'"\ud83d\ude00"', "\U0001f600"), (rb'"\\ud800"', "\\ud800"), (rb'"\u00e9"', "\xe9")],
)
def test_whole_characters_are_read_however_they_are_written(text, value):
    assert dsse.load(text, "it") == value


@pytest.mark.parametrize(
    "text",
    [
        r'"\ud800"',
        r'{"a": "x\udfff"}',
        r'{"\udc00": 1}',
        r'["\ud83d", "\ude00"]',
        r'"\ude00\ud83d"',
        r'"\uD800x"',
    ],
)
def test_half_of_a_character_is_refused(text):
    """It could be neither signed again nor printed."""
    with pytest.raises(SealDamaged, match="is not JSON"):
        dsse.load(text.encode(), "it")


def test_escaped_characters_are_read():
    assert dsse.load(rb'["\ud83d\ude00", "\u00e9", "\\ud800"]', "it") == ["\U0001f600", "é", "\\ud800"]


def test_small_values_are_counted_before_they_are_made():
    assert dsse.load(b"[1,2,[]]", "it", most=4) == [1, 2, []]
    with pytest.raises(SealDamaged, match="it is made of more than 3 values"):
        dsse.load(b"[1,2,[]]", "it", most=3)
