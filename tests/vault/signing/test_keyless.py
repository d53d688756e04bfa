"""Keyless signatures that the public instance made, verified with the keys that its library ships; no network."""

import base64
import json
import socket
import sys
import time

import pytest

from modelward.errors import ConfigInvalid, ExtraMissing, KeyServiceFailed, SealDamaged, SignatureInvalid
from modelward.vault.dsse import Statement
from modelward.vault.signing.checking import CheckOptions, check_files
from modelward.vault.signing.keyless import Instance, sign_keyless, verify_keyless
from modelward.vault.tree.hashing import TreeOptions

WHO = {"identity": "stefanb@us.ibm.com", "issuer": "https://sigstore.verify.ibm.com/oauth2"}
OFFLINE = Instance(offline=True)
VERSIONS = ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"]
STATEMENT = Statement(subjects=(("m", {"sha256": "00" * 32}),), predicate_type="https://x/v1", predicate={})


@pytest.fixture
def library(tmp_path, monkeypatch):
    pytest.importorskip("sigstore", reason="the Sigstore library is not installed")
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def published(vectors, version):
    return vectors / "openssf" / f"{version}-sigstore"


@pytest.mark.parametrize("version", VERSIONS)
def test_published_signatures(library, no_network, vectors, version):
    folder = published(vectors, version)
    verified = verify_keyless((folder / "model.sig").read_bytes(), **WHO, instance=OFFLINE)
    assert verified.signers == (WHO["identity"],)
    excluded = TreeOptions(excluded=(folder / "model.sig", folder / "ignore-me"))
    assert check_files(verified.statement, folder, CheckOptions(tree=excluded)).files == 2


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ({**WHO, "identity": "mallory@example.com"}, r"do not match mallory@example\.com"),
        ({**WHO, "issuer": "https://accounts.google.com"}, "OIDCIssuer does not match"),
    ],
)
def test_somebody_else(library, no_network, vectors, who, sentence):
    data = (published(vectors, "v1.1.0") / "model.sig").read_bytes()
    with pytest.raises(SignatureInvalid, match=sentence):
        verify_keyless(data, **who, instance=OFFLINE)


def edits():
    def other_payload(value):
        payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        payload["subject"][0]["name"] = "evil"
        value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()

    def other_signature(value):
        value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()

    def other_time(value):
        value["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1"

    def no_log(value):
        value["verificationMaterial"]["tlogEntries"] = []

    def other_log(value):
        value["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "1"

    def no_certificate(value):
        value["verificationMaterial"]["certificate"] = {"rawBytes": "AAAA"}

    return [other_payload, other_signature, other_time, no_log, other_log, no_certificate]


@pytest.mark.parametrize("edit", edits(), ids=lambda edit: edit.__name__)
def test_whatever_is_changed_is_refused(library, no_network, vectors, rewrite, edit):
    data = rewrite((published(vectors, "v1.0.1") / "model.sig").read_bytes(), edit)
    with pytest.raises((SignatureInvalid, SealDamaged)):
        verify_keyless(data, **WHO, instance=OFFLINE)


def test_a_bundle_by_key_is_not_keyless(library, vectors):
    data = (vectors / "openssf" / "v1.1.0-elliptic-key" / "model.sig").read_bytes()
    with pytest.raises(SealDamaged, match="holds no certificate"):
        verify_keyless(data, **WHO, instance=OFFLINE)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_bundle(library, data):
    with pytest.raises(SealDamaged):
        verify_keyless(data, **WHO, instance=OFFLINE)


def test_the_public_instance_out_of_reach(library, no_network, vectors):
    data = (published(vectors, "v1.1.0") / "model.sig").read_bytes()
    with pytest.raises(KeyServiceFailed, match="keys of the public instance cannot be had") as caught:
        verify_keyless(data, **WHO)
    assert "offline" in caught.value.advice


def test_a_trust_configuration_of_ones_own(library, vectors, tmp_path):
    data = (published(vectors, "v1.1.0") / "model.sig").read_bytes()
    for name, content in (("broken.json", b"{"), ("other.json", b"[]"), ("latin.json", b"\xff")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigInvalid, match="no client trust configuration"):
            verify_keyless(data, **WHO, instance=Instance(trust=tmp_path / name))
    with pytest.raises(ConfigInvalid):
        verify_keyless(data, **WHO, instance=Instance(trust=tmp_path / "nowhere.json"))


def token(**claims):
    """An identity token as workflows have them; nobody checks its signature on this side."""
    now = int(time.time())
    body = {
        "aud": "sigstore", "iss": "https://accounts.google.com", "sub": "1", "email": "a@example.com",
        "email_verified": True, "iat": now - 5, "nbf": now - 5, "exp": now + 600, **claims,
    }  # fmt: skip
    parts = [{"alg": "RS256", "typ": "JWT"}, body]
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
        + ".c2ln"
    )


def test_signing_without_a_network(library, no_network):
    secret = token()
    with pytest.raises(KeyServiceFailed, match="Sigstore did not sign") as caught:
        sign_keyless(STATEMENT, token=secret, instance=OFFLINE)
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert secret not in shown
    assert secret.split(".")[1] not in shown


@pytest.mark.parametrize("bad", ["x", "a.b.c", token(exp=1), token(aud="other")])
def test_tokens_that_are_not_accepted(library, no_network, bad):
    with pytest.raises(KeyServiceFailed, match="token is not accepted") as caught:
        sign_keyless(STATEMENT, token=bad, instance=OFFLINE)
    assert caught.value.__cause__ is None
    assert bad not in str(caught.value) or bad == "x"


def test_no_token_at_all(library, no_network, monkeypatch):
    import sigstore.oidc

    monkeypatch.setattr(sigstore.oidc, "detect_credential", lambda _client: None)
    with pytest.raises(KeyServiceFailed, match="there is no identity token"):
        sign_keyless(STATEMENT, instance=OFFLINE)


def test_a_subject_by_blake3_is_not_for_sigstore(library):
    statement = Statement(subjects=(("m", {"blake3": "00" * 32}),), predicate_type="x", predicate={})
    with pytest.raises(ConfigInvalid, match="does not sign this statement"):
        sign_keyless(statement, token=token(), instance=OFFLINE)


@pytest.mark.parametrize("ask", ["sign", "verify"])
def test_the_extra_is_named_where_it_is_missing(monkeypatch, ask):
    for name in [name for name in sys.modules if name.split(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    ask = {
        "sign": lambda: sign_keyless(STATEMENT, token="x.y.z"),  # noqa: S106  (a token of nothing)
        "verify": lambda: verify_keyless(b"{}", **WHO),
    }[ask]
    with pytest.raises(ExtraMissing, match="sigstore is not installed") as caught:
        ask()
    assert "modelward[sigstore]" in caught.value.advice
