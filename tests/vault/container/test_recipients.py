"""Recipients: each kind wraps and unwraps, and refuses what is altered, malformed, costly or not its own."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from functools import partial

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import (
    ExtraMissing,
    FileMissing,
    KeyServiceFailed,
    KeyUnusable,
    RecipientWrong,
    SealDamaged,
)
from modelward.vault.container.recipients import (
    check_stanzas,
    describe,
    generate_identity,
    open_identity,
    parse_recipient,
    unwrap_any,
    wrap_for,
)
from modelward.vault.container.recipients.age import AgeIdentity, AgeRecipient
from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.recipients.passphrase import Passphrase
from modelward.vault.container.recipients.transit import Transit
from modelward.vault.container.recipients.wrapping import bound
from modelward.vault.hazmat import kem, passphrase

pyrage = pytest.importorskip("pyrage")

MASTER, CID, OTHER = bytes(range(32)), bytes(range(16)), bytes(16)
PHRASE = b"five words drawn at random"
KINDS = ("x25519", "mlkem768-x25519", "age", "vault", "passphrase")
settings.register_profile(
    "recipients", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Server:
    """Encrypts as Vault does, with associated data."""

    def __init__(self):
        self._key = AESGCM(AESGCM.generate_key(256))

    def encrypt(self, plaintext, context):
        nonce = os.urandom(12)
        return "vault:v1:" + base64.b64encode(nonce + self._key.encrypt(nonce, plaintext, context)).decode()

    def decrypt(self, ciphertext, context):
        try:
            data = base64.b64decode(ciphertext.removeprefix("vault:v1:"), validate=True)
            return self._key.decrypt(data[:12], data[12:], context)
        except (ValueError, InvalidTag) as error:
            raise SealDamaged("Vault does not decrypt the wrapped secret") from error


def make(kind):
    """A recipient and its identity."""
    if kind in kem.KINDS:
        key = kem.generate(kind)
        return HpkeRecipient(kem.public_of(key)), HpkeIdentity(key)
    if kind == "age":
        key = pyrage.x25519.Identity.generate()
        return AgeRecipient(str(key.to_public())), AgeIdentity(str(key).encode())
    one = Transit("transit/models", Server()) if kind == "vault" else Passphrase(PHRASE)
    return one, one


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    return make(request.param)


@pytest.fixture(scope="module")
def everybody():
    return [make(kind) for kind in KINDS]


class Quick:
    """In the place of Argon2id where a thousand guesses are made: it depends on the same parameters."""

    def __init__(self, **parameters):
        self._seed = repr(sorted(parameters.items())).encode()
        self._length = parameters["length"]

    def derive(self, phrase):
        return hashlib.shake_256(self._seed + phrase).digest(self._length)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(passphrase, "Argon2id", Quick)


def test_every_kind_opens_what_is_for_it(pair):
    recipient, identity = pair
    stanza = recipient.wrap(MASTER, CID)
    assert identity.unwrap(stanza, CID) == MASTER
    assert identity.unwrap(json.loads(json.dumps(stanza)), CID) == MASTER
    assert recipient.wrap(MASTER, CID) != stanza


def test_each_of_many_recipients_opens_alone(everybody, quick):
    stanzas = wrap_for([recipient for recipient, _ in everybody], MASTER, CID)
    assert [stanza["kind"] for stanza in stanzas] == list(KINDS)
    for _, identity in everybody:
        assert unwrap_any(stanzas, [identity], CID) == MASTER
    assert unwrap_any(stanzas[::-1], [identity for _, identity in everybody], CID) == MASTER


def test_a_stranger_is_told_whom_it_is_for(pair, quick):
    kind = pair[0].wrap(MASTER, CID)["kind"]
    stranger = Passphrase(b"another good passphrase") if kind == "passphrase" else make(kind)[1]
    if kind == "vault":
        stranger = Transit("transit/others", Server())
    stanza = pair[0].wrap(MASTER, CID)
    assert stranger.unwrap(stanza, CID) is None
    with pytest.raises(RecipientWrong, match=f"none of the 1 identities opens it; it is for {kind}"):
        unwrap_any([stanza], [stranger], CID)


def test_without_an_identity_nothing_opens(pair):
    with pytest.raises(RecipientWrong, match="no identity was given"):
        unwrap_any([pair[0].wrap(MASTER, CID)], [], CID)


def test_no_kind_answers_to_another(everybody, quick):
    for at, (recipient, _) in enumerate(everybody):
        stanza = recipient.wrap(MASTER, CID)
        for other, (_, identity) in enumerate(everybody):
            assert (identity.unwrap(stanza, CID) is None) == (at != other)


def test_a_stanza_says_nothing_in_another_container(pair, quick):
    stanza = pair[0].wrap(MASTER, OTHER)
    if stanza["kind"] == "passphrase":
        assert pair[1].unwrap(stanza, CID) is None
        return
    with pytest.raises(SealDamaged):
        pair[1].unwrap(stanza, CID)


def test_a_master_key_has_its_length(pair, quick):
    stanza = pair[0].wrap(MASTER[:31], CID)
    with pytest.raises(SealDamaged, match="31 bytes"):
        pair[1].unwrap(stanza, CID)
    with pytest.raises(ValueError, match="31 bytes"):
        wrap_for([pair[0]], MASTER[:31], CID)


def test_every_flipped_byte_of_a_stanza_is_refused(pair, quick):
    text = bytearray(json.dumps(pair[0].wrap(MASTER, CID)).encode())
    refused = 0
    for at in range(len(text)):
        text[at] ^= 1 << at % 7
        try:
            stanzas = [json.loads(text)]
        except ValueError:  # no JSON: the header's reader refuses it
            stanzas = None
        if stanzas is not None:
            refused += 1
            with pytest.raises((SealDamaged, RecipientWrong)):
                unwrap_any(stanzas, [pair[1]], CID)
        text[at] ^= 1 << at % 7
    assert refused > len(text) / 2
    assert unwrap_any([json.loads(text)], [pair[1]], CID) == MASTER


def test_every_flipped_bit_of_what_is_wrapped_is_refused(pair, quick):
    stanza = pair[0].wrap(MASTER, CID)
    prefix = "vault:v1:" if stanza["kind"] == "vault" else ""
    wrapped = bytearray(base64.b64decode(stanza["wrapped"].removeprefix(prefix)))
    for at in range(len(wrapped)):
        wrapped[at] ^= 1 << at % 8
        stanza["wrapped"] = prefix + base64.b64encode(wrapped).decode()
        with pytest.raises((SealDamaged, RecipientWrong)):
            unwrap_any([stanza], [pair[1]], CID)
        wrapped[at] ^= 1 << at % 8


def test_fields_are_those_of_the_kind(pair, quick):
    stanza = pair[0].wrap(MASTER, CID)
    for broken in [
        {**stanza, "note": 1},
        *({k: v for k, v in stanza.items() if k != name} for name in stanza if name != "kind"),
    ]:
        with pytest.raises(SealDamaged, match="fields of its kind"):
            pair[1].unwrap(broken, CID)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(settings.get_profile("recipients"), max_examples=200)
@given(data=st.data())
def test_any_value_in_any_field_is_refused(data, everybody, quick):
    recipient, identity = data.draw(st.sampled_from(everybody))
    stanza = recipient.wrap(MASTER, CID)
    name = data.draw(st.sampled_from(sorted(stanza)))
    stanza[name] = data.draw(JSON.filter(lambda value: value != stanza[name]))
    with pytest.raises((SealDamaged, RecipientWrong)):
        unwrap_any([stanza], [identity], CID)


@settings(settings.get_profile("recipients"), max_examples=100)
@given(
    value=JSON
    | st.lists(
        st.fixed_dictionaries(
            {"kind": st.sampled_from(KINDS)}, optional=dict.fromkeys(("key", "wrapped", "salt"), JSON)
        )
    )
)
def test_any_list_is_refused(value, everybody, quick):
    with pytest.raises((SealDamaged, RecipientWrong)):
        unwrap_any(value, [identity for _, identity in everybody], CID)


@pytest.mark.parametrize(
    "value", [None, {}, [], "x", [1], [[]], [{}], [{"kind": 1}], [{"kind": "x25519"}, None]]
)
def test_the_list_has_its_shape(value):
    with pytest.raises(SealDamaged):
        check_stanzas(value)


def test_there_are_bounds_on_how_many():
    assert len(check_stanzas([{"kind": "x"}] * 256)) == 256
    with pytest.raises(SealDamaged, match="1 to 256"):
        check_stanzas([{"kind": "x"}] * 257)
    with pytest.raises(SealDamaged, match="more than 4"):
        check_stanzas([{"kind": "passphrase"}] * 5)


def test_whoever_seals_is_held_to_the_same_bounds(quick):
    recipient = make("x25519")[0]
    for many in (0, 257):
        with pytest.raises(KeyUnusable, match="1 to 256"):
            wrap_for([recipient] * many, MASTER, CID)
    with pytest.raises(KeyUnusable, match="more than 4"):
        wrap_for([Passphrase(PHRASE)] * 5, MASTER, CID)


def test_what_is_kept_counts_too(quick):
    recipient, phrase = make("x25519")[0], Passphrase(PHRASE).wrap(MASTER, CID)
    stanza = recipient.wrap(MASTER, CID)
    assert wrap_for([], MASTER, CID, kept=[stanza]) == [stanza]
    assert wrap_for([recipient], MASTER, CID, kept=[stanza])[0] == stanza
    with pytest.raises(KeyUnusable, match="1 to 256"):
        wrap_for([recipient], MASTER, CID, kept=[stanza] * 256)
    with pytest.raises(KeyUnusable, match="more than 4"):
        wrap_for([Passphrase(PHRASE)], MASTER, CID, kept=[phrase] * 4)


def test_base64_has_one_spelling():
    recipient, identity = make("x25519")
    stanza = recipient.wrap(MASTER, CID)
    text = stanza["wrapped"]
    last = text.rstrip("=")[-1]
    alike = chr(ord(last) + 1) if last.isalnum() else "A"
    for spelling in (
        text.rstrip("="),
        text + "=",
        text + "\n",
        " " + text,
        text.rstrip("=")[:-1] + alike + "=",
        "-_" + text,
    ):
        with pytest.raises(SealDamaged):
            identity.unwrap({**stanza, "wrapped": spelling}, CID)


def test_a_wrapped_key_is_not_read_without_end():
    identity = make("x25519")[1]
    stanza = {"kind": "x25519", "key": identity.key_id, "wrapped": "A" * 70_000}
    with pytest.raises(SealDamaged, match="65536 characters"):
        identity.unwrap(stanza, CID)


def test_a_name_taken_from_another_does_not_help():
    (theirs, _), (mine, identity) = make("x25519"), make("x25519")
    stanza = {**theirs.wrap(MASTER, CID), "key": mine.key_id}
    with pytest.raises(SealDamaged, match="altered"):
        unwrap_any([stanza], [identity], CID)


def test_what_shows_whom_it_is_for_is_plain_text():
    assert describe({"kind": "x25519", "key": "ab" * 60}) == "x25519 " + "ab" * 40
    assert describe({"kind": "\x1b[2J", "key": 7}) == "unnamed"
    assert describe({"kind": "age\n"}) == "unnamed"


# Passphrases


@pytest.mark.parametrize(
    "costs", [{"memory": 2**21}, {"memory": 1024}, {"passes": 2}, {"passes": 10**6}, {"lanes": 64}]
)
def test_hostile_costs_are_refused_before_they_are_computed(costs, monkeypatch):
    stanza = Passphrase(PHRASE).wrap(MASTER, CID)
    monkeypatch.setattr(passphrase, "Argon2id", lambda **_: pytest.fail("it was computed"))
    with pytest.raises(SealDamaged, match="is refused"):
        Passphrase(PHRASE).unwrap({**stanza, **costs}, CID)


@pytest.mark.parametrize("value", [0, -1, True, 65536.0, "65536", None, 2**31, 10**30])
def test_costs_are_whole_numbers(value):
    stanza = {"kind": "passphrase", "salt": "", "memory": value, "passes": 3, "lanes": 4, "wrapped": "AA=="}
    with pytest.raises(SealDamaged):
        Passphrase(PHRASE).unwrap(stanza, CID)


def test_higher_costs_are_kept():
    costs = passphrase.Costs(memory=3 * 65536, passes=1, lanes=2)
    stanza = Passphrase(PHRASE, costs).wrap(MASTER, CID)
    assert (stanza["memory"], stanza["passes"], stanza["lanes"]) == (196608, 1, 2)
    assert Passphrase(PHRASE).unwrap(stanza, CID) == MASTER


def test_short_passphrases_seal_nothing():
    with pytest.raises(KeyUnusable, match="can guess without limit"):
        Passphrase(b"elevenbytes").wrap(MASTER, CID)
    with pytest.raises(KeyUnusable, match="empty"):
        Passphrase(b"")


def test_a_passphrase_comes_from_a_person_a_variable_or_a_file(tmp_path, monkeypatch, quick):
    path, warned = tmp_path / "phrase", []
    path.write_bytes(PHRASE + b"\r\n")
    path.chmod(0o644)
    monkeypatch.setenv("SEAL_PHRASE", PHRASE.decode())
    stanza = parse_recipient("passphrase", lambda: PHRASE).wrap(MASTER, CID)
    for reference in ("passphrase:env:SEAL_PHRASE", f"passphrase:file:{path}"):
        assert open_identity(reference, None, warned.append).unwrap(stanza, CID) == MASTER
        assert Passphrase(PHRASE).unwrap(parse_recipient(reference).wrap(MASTER, CID), CID) == MASTER
    assert warned == [f"{path}: others than its owner may read it; run `chmod 600` on it"]
    with pytest.raises(KeyUnusable, match="nobody to ask"):
        open_identity("passphrase")
    with pytest.raises(KeyUnusable, match="not set or empty"):
        open_identity("passphrase:env:SEAL_NO_PHRASE")
    with pytest.raises(FileMissing):
        open_identity(f"passphrase:file:{tmp_path / 'none'}")
    with pytest.raises(KeyUnusable, match="names no passphrase") as refusal:
        open_identity("passphrase:hunter2")
    assert "never the phrase" in refusal.value.advice


# Files


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A new pair of each kind, in files."""
    folder, found = tmp_path_factory.mktemp("keys"), {}
    for kind in ("x25519", "mlkem768-x25519", "age"):
        made = generate_identity(kind, PHRASE)
        private, public = folder / f"{kind}.key", folder / f"{kind}.pub"
        private.write_bytes(made.private)
        private.chmod(0o600)
        public.write_bytes(made.public)
        found[kind] = (private, public, made)
    return found


@pytest.mark.parametrize("kind", ["x25519", "mlkem768-x25519", "age"])
def test_a_new_pair_opens_what_is_for_it(written, kind):
    private, public, made = written[kind]
    warned = []
    stanza = parse_recipient(str(public)).wrap(MASTER, CID)
    assert open_identity(str(private), lambda: PHRASE, warned.append).unwrap(stanza, CID) == MASTER
    assert stanza["kind"] == kind
    assert stanza["key"] == made.name
    assert not warned
    assert repr(made) == f"Pair({made.name[:16]})"


@pytest.mark.parametrize("kind", ["x25519", "mlkem768-x25519", "age"])
def test_a_wrong_passphrase_opens_no_file(written, kind):
    private = str(written[kind][0])
    with pytest.raises(KeyUnusable, match="passphrase"):
        open_identity(private, lambda: b"not the passphrase")
    with pytest.raises(KeyUnusable, match="nobody to ask"):
        open_identity(private)


@pytest.mark.parametrize("kind", ["x25519", "mlkem768-x25519", "age"])
def test_a_private_key_is_no_recipient(written, kind):
    with pytest.raises(KeyUnusable, match="is a private key"):
        parse_recipient(str(written[kind][0]))


def test_a_pair_is_never_without_a_passphrase():
    with pytest.raises(KeyUnusable, match="empty"):
        generate_identity("x25519", b"")
    with pytest.raises(KeyUnusable, match="UTF-8"):
        generate_identity("age", b"\xff")


def clear_pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def test_an_identity_from_a_variable(monkeypatch):
    key = kem.generate("x25519")
    monkeypatch.setenv("SEAL_KEY", clear_pem(key).decode())
    stanza = HpkeRecipient(key.public_key()).wrap(MASTER, CID)
    assert open_identity("env:SEAL_KEY").unwrap(stanza, CID) == MASTER
    other = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("SEAL_KEY", str(other))
    assert (
        open_identity("env:SEAL_KEY").unwrap(parse_recipient(str(other.to_public())).wrap(MASTER, CID), CID)
        == MASTER
    )


def test_a_key_that_others_may_read_is_warned_of(tmp_path):
    path, warned = tmp_path / "key.pem", []
    path.write_bytes(clear_pem(kem.generate("x25519")))
    path.chmod(0o640)
    open_identity(str(path), None, warned.append)
    assert len(warned) == 1
    assert "chmod 600" in warned[0]


def test_files_that_hold_no_key(tmp_path):
    path = tmp_path / "file"
    for content in (
        b"",
        b"age1",
        b"age1qqqq\n",
        b"hello",
        b"\xff" * 50,
        b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyUnusable):
            parse_recipient(str(path))
        with pytest.raises(KeyUnusable):
            open_identity(str(path))
    path.write_bytes(b"A" * 70_000)
    with pytest.raises(KeyUnusable, match="larger"):
        parse_recipient(str(path))
    for what in (parse_recipient, open_identity):
        with pytest.raises(FileMissing):
            what(str(tmp_path / "none"))
        with pytest.raises(FileMissing):
            what(str(tmp_path))


def test_secrets_are_in_no_traceback_and_no_repr(tmp_path):
    secret = b"this must not be shown anywhere"
    path = tmp_path / "key.pem"
    path.write_bytes(kem.private_pem(kem.generate("x25519"), PHRASE))
    path.chmod(0o600)
    for reference in (str(path), "passphrase:" + secret.decode()):
        with pytest.raises(KeyUnusable) as refusal:
            open_identity(reference, lambda: secret)
        stack = traceback.TracebackException.from_exception(refusal.value, capture_locals=True).stack
        ours = [frame for frame in stack if "vault" in frame.filename and "test_" not in frame.filename]
        assert ours
        assert secret.decode() not in str([frame.locals for frame in ours if "passphrase:" not in reference])
        assert refusal.value.__context__ is None
        assert refusal.value.__cause__ is None
    for kind in KINDS:
        assert "five" not in repr(make(kind)[1])
        assert "SECRET" not in repr(make(kind)[1])


# age


def test_the_command_age_decrypts_a_stanza(tmp_path):
    if shutil.which("age") is None:
        pytest.skip("the command age is not installed")
    key = pyrage.x25519.Identity.generate()
    stanza = AgeRecipient(str(key.to_public())).wrap(MASTER, CID)
    (tmp_path / "id").write_text(str(key), encoding="ascii")
    found = subprocess.run(
        ["age", "-d", "-i", tmp_path / "id"],
        input=base64.b64decode(stanza["wrapped"]),
        capture_output=True,
        check=True,
    )
    assert found.stdout == b"modelward.seal/1 recipient age\0" + CID + MASTER


def test_what_the_command_age_encrypts_is_opened(tmp_path):
    if shutil.which("age") is None:
        pytest.skip("the command age is not installed")
    subprocess.run(["age-keygen", "-o", tmp_path / "id"], capture_output=True, check=True)
    (tmp_path / "id").chmod(0o600)
    identity = open_identity(str(tmp_path / "id"))
    shown = subprocess.run(["age-keygen", "-y", tmp_path / "id"], capture_output=True, check=True).stdout
    public = shown.decode().strip()
    sealed = subprocess.run(
        ["age", "-r", public], input=bound("age", CID) + MASTER, capture_output=True, check=True
    ).stdout
    name = parse_recipient(public).key_id
    stanza = {"kind": "age", "key": name, "wrapped": base64.b64encode(sealed).decode()}
    assert identity.unwrap(stanza, CID) == MASTER


def test_an_identity_file_may_hold_several_keys(tmp_path):
    keys = [pyrage.x25519.Identity.generate() for _ in range(3)]
    text = "# mine\n\n" + "\n".join(map(str, keys)) + "\n"
    identity = AgeIdentity(text.encode())
    for key in keys:
        assert identity.unwrap(AgeRecipient(str(key.to_public())).wrap(MASTER, CID), CID) == MASTER
    for broken in (
        b"",
        b"# nothing\n",
        text.encode() + b"AGE-SECRET-KEY-1QQQ\n",
        b"\xff\n",
        str(keys[0]).encode() * 2,
    ):
        with pytest.raises(KeyUnusable):
            AgeIdentity(broken)
    with pytest.raises(KeyUnusable, match="1 to 64"):
        AgeIdentity(f"{keys[0]}\n".encode() * 65)


def test_other_recipients_of_age_are_refused():
    for text in ("age1", "age1qqqqqqqq", "age1yubikey1qqqq", "AGE-SECRET-KEY-1QQ"):
        with pytest.raises(KeyUnusable):
            AgeRecipient(text)


def test_age_without_pyrage(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(ExtraMissing, match="pyrage is not installed"):
        parse_recipient("age1qqqq")
    with pytest.raises(ExtraMissing):
        generate_identity("age", PHRASE)


# Vault


def test_vault_is_named_by_its_reference(monkeypatch, tmp_path):
    pytest.importorskip("hvac")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    for what in (parse_recipient, open_identity):
        with pytest.raises(KeyServiceFailed):
            what("vault:transit/models")
        with pytest.raises(KeyUnusable):
            what("vault:models")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.none")
    both = [what("vault:deep/transit/models") for what in (parse_recipient, open_identity)]
    assert [one.name for one in both] == ["deep/transit/models"] * 2
    with pytest.raises(KeyServiceFailed):
        both[0].wrap(MASTER, CID)
    with pytest.raises(KeyServiceFailed):
        both[1].unwrap(
            {"kind": "vault", "key": "deep/transit/models", "wrapped": "vault:v1:" + "A" * 80}, CID
        )


def test_a_server_that_does_not_answer_is_no_stranger():
    class Down:
        def encrypt(self, plaintext, context):
            raise KeyServiceFailed("Vault cannot be reached")

        decrypt = encrypt

    down = Transit("transit/models", Down())
    stanza = Transit("transit/models", Server()).wrap(MASTER, CID)
    with pytest.raises(KeyServiceFailed):
        unwrap_any([stanza], [down], CID)
    assert down.unwrap({**stanza, "key": "transit/others"}, CID) is None


# Published stanzas


@pytest.fixture(scope="module")
def vectors(request):
    path = request.config.rootpath / "tests/vectors/seal/recipients/stanzas.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def identities(vectors):
    raw = vectors["identities"]
    curve = x25519.X25519PrivateKey.from_private_bytes(bytes.fromhex(raw["x25519"]["x25519"]))
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(raw["mlkem768-x25519"]["mlkem768"]))
    return {
        "x25519": HpkeIdentity(curve),
        "mlkem768-x25519": HpkeIdentity(kem.HybridPrivate(lattice, curve)),
        "age": AgeIdentity(raw["age"]["identity"].encode()),
        "passphrase": Passphrase(raw["passphrase"]["phrase"].encode()),
    }


@pytest.mark.parametrize("at", range(31))
def test_the_published_stanzas(vectors, identities, at):
    assert set(vectors) == {"container_id", "identities", "master", "cases"}
    assert len(vectors["cases"]) == 31
    case = copy.deepcopy(vectors["cases"][at])
    assert set(case) == {"comment", "identity", "expect", "stanza"}
    unwrap = partial(
        identities[case["identity"]].unwrap, case["stanza"], bytes.fromhex(vectors["container_id"])
    )
    match case["expect"]:
        case "opens":
            assert unwrap() == bytes.fromhex(vectors["master"])
        case "not mine":
            assert unwrap() is None
        case "damaged":
            with pytest.raises(SealDamaged):
                unwrap()
        case other:
            pytest.fail(f"unknown expectation {other}")


@pytest.mark.parametrize("text", ["age1\udcff", "\ud800", "age1" + "q" * 58 + "\udcff"])
def test_a_recipient_that_is_no_unicode(text):
    """So an argument comes that is no UTF-8."""
    with pytest.raises(KeyUnusable, match="is no recipient of age") as refused:
        AgeRecipient(text)
    assert str(refused.value).isascii()
