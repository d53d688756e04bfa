"""A keyring's file: who must have signed, how owners change, and every byte of it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import (
    ConfigInvalid,
    FileMissing,
    KeyUnusable,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.vault import dsse
from modelward.vault.keys import ringfile
from modelward.vault.keys.keyring import Keyring
from modelward.vault.keys.ringfile import (
    PAYLOAD_TYPE,
    appended,
    countersign,
    decode,
    decode_line,
    encode,
    shortfall,
    sign,
    trusted,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def signers(signer_of):
    """Letters to signers."""
    return lambda letters: [signer_of(letter) for letter in letters]


@pytest.fixture
def publics(signers):
    """Letters to public keys."""
    return lambda letters: [signer.public for signer in signers(letters)]


@pytest.fixture
def owned(signer_of):
    """A ring's next version with other owners."""

    def owned(ring, letters, threshold):
        pems = tuple(signer_of(letter).public.pem.decode() for letter in letters)
        return msgspec.structs.replace(ring, owners=pems, threshold=threshold)

    return owned


def later(ring, /, **changes):
    facts = {"version": ring.version + 1, "issued": ring.issued + HOUR, **changes}
    return msgspec.structs.replace(ring, **facts)


def test_a_file_is_read_back(tmp_path, ring, signers, publics):
    line = sign(ring(), signers("ab"), None)
    path = tmp_path / "ring.json"
    path.write_bytes(encode([line]))
    assert ringfile.read_chain(path) == (line,)
    assert Keyring.read(path, publics("ab")) == ring()


def test_a_line_is_a_plain_dsse_envelope(ring, signers, publics):
    line = sign(ring(), signers("ab"), None)
    value = json.loads(encode([line]))
    payload = base64.b64decode(value["payload"])
    assert value["payloadType"] == PAYLOAD_TYPE
    assert payload == ring().encode()
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    for signature, key in zip(value["signatures"], publics("ab"), strict=True):
        assert signature["keyid"] == key.key_id
        key.verify(base64.b64decode(signature["sig"]), message)


@pytest.mark.parametrize("letters", ["a", "b", "c"])
def test_one_owner_of_two_is_too_few(ring, signers, letters):
    line = sign(ring(), signers(letters), None)
    assert shortfall(line, None) == "is signed by 1 of the 2 owners who must"
    with pytest.raises(SignerMissing, match="version 1 of the keyring is signed by 1 of the 2"):
        decode(encode([line]))


def test_a_further_owner_completes_it(ring, signers):
    line = sign(ring(), signers("c"), None)
    whole = countersign(line, signers("a"), None)
    assert shortfall(whole, None) == ""
    assert decode(encode([whole])) == (whole,)
    assert countersign(whole, signers("ac"), None) == whole


def test_who_is_no_owner_does_not_sign(ring, signers):
    with pytest.raises(KeyUnusable, match="no owner"):
        sign(ring(), signers("ad"), None)
    with pytest.raises(KeyUnusable, match="twice"):
        sign(ring(), signers("aa"), None)
    with pytest.raises(KeyUnusable, match="no owner"):
        countersign(sign(ring(), signers("a"), None), signers("d"), None)


def test_a_version_that_would_not_be_valid_is_not_signed(ring, signers):
    with pytest.raises(ConfigInvalid, match="4 of 3 owners"):
        sign(ring(threshold=4), signers("a"), None)
    with pytest.raises(ConfigInvalid, match="not of its format"):
        sign(ring(ring="x"), signers("a"), None)


def forged(ring, letters, signer_of, named=None):
    """An envelope with signatures that nothing was asked about; `named` takes the place of a key id."""
    envelope = dsse.sign(ring.encode(), [signer_of(letter) for letter in letters], payload_type=PAYLOAD_TYPE)
    if named is not None:
        signatures = tuple(msgspec.structs.replace(s, keyid=named) for s in envelope.signatures)
        envelope = msgspec.structs.replace(envelope, signatures=signatures)
    return canonical(dsse.to_json(envelope)) + b"\n"


def test_signatures_that_do_not_belong_are_refused(ring, signer_of):
    a = signer_of("a").public.key_id
    for data in (
        forged(ring(), "abd", signer_of),  # one by nobody's key
        forged(ring(), "aab", signer_of),  # one twice
        forged(ring(), "b", signer_of, named=a),  # under another's name
        forged(ring(), "ab", signer_of, named=""),  # without a name
    ):
        with pytest.raises(SignatureInvalid):
            decode(data)


def test_another_payload_type_is_refused(ring, signers):
    envelope = dsse.sign(ring().encode(), signers("ab"))
    with pytest.raises(SealDamaged, match="of the type"):
        decode(canonical(dsse.to_json(envelope)) + b"\n")


def test_every_byte_of_a_file_counts(ring, signers, entry, owned):
    """A chain with a change of owners, each byte altered: refused by a leaf of SealRefused, never accepted."""
    first = owned(ring(keys=(entry("anna"),)), "a", 1)
    second = owned(later(first), "b", 1)
    lines = (sign(first, signers("a"), None), sign(second, signers("ab"), first))
    data = bytearray(encode(lines))
    assert decode(bytes(data)) == lines
    for at in range(len(data)):
        for bit in (at % 8,) if at % 16 else range(8):
            data[at] ^= 1 << bit
            with pytest.raises(SealRefused):
                decode(bytes(data))
            data[at] ^= 1 << bit


def test_every_truncation_and_repetition_is_refused(ring, signers, owned):
    first = owned(ring(), "a", 1)
    data = encode([sign(first, signers("a"), None)])
    for end in range(len(data)):
        with pytest.raises(SealRefused):
            decode(data[:end])
    for other in (data + data, b"\n" + data, data + b"\n", data[:-1] + b" \n", data.replace(b":", b": ", 1)):
        with pytest.raises(SealRefused):
            decode(other)


@settings(max_examples=60)
@given(st.binary(max_size=120))
def test_any_bytes_are_refused(data):
    with pytest.raises(SealRefused):
        decode(data)
    with pytest.raises(SealRefused):
        decode(data + b"\n")


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {
            "payload": st.binary(max_size=30).map(lambda b: base64.b64encode(b).decode())
            | st.text(max_size=9),
            "payloadType": st.just(PAYLOAD_TYPE) | st.text(max_size=9),
            "signatures": st.lists(
                st.fixed_dictionaries({"sig": st.text(max_size=9), "keyid": st.text(max_size=9)}), max_size=3
            ),
        }
    )
)
def test_any_envelope_is_refused(value):
    with pytest.raises(SealRefused):
        decode(json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def test_a_key_id_that_no_text_holds_is_refused(ring, signers):
    line = json.loads(encode([sign(ring(), signers("ab"), None)]))
    line["signatures"][0]["keyid"] = "\ud800"
    with pytest.raises(SealDamaged, match="is not JSON"):
        decode(json.dumps(line).encode() + b"\n")


def test_owners_change_with_the_old_and_the_new(ring, signers, owned):
    first = ring()
    second = owned(later(first), "de", 2)
    for letters, lacks in (
        ("de", "0 of the 2 previous owners"),
        ("ade", "1 of the 2 previous owners"),
        ("ab", "0 of the 2 owners"),
        ("abd", "1 of the 2 owners"),
        ("acde", ""),
    ):
        line = sign(second, signers(letters), first)
        assert lacks in shortfall(line, first)
        data = encode([sign(first, signers("ab"), None), line])
        if lacks:
            with pytest.raises(SignerMissing, match=lacks):
                decode(data)
        else:
            assert decode(data)[-1].ring == second


def test_old_owners_alone_cannot_go_on(ring, signers, owned):
    first = ring()
    second = owned(later(first), "de", 2)
    third = later(first, version=3)
    with pytest.raises(SealRefused):
        decode(
            encode([sign(first, signers("ab"), None), sign(second, signers("abde"), first)])
            + encode([sign(third, signers("ab"), first)])
        )


def test_a_change_of_owners_is_kept_and_another_change_is_not(ring, signers, owned, publics):
    one = ring()
    lines = (sign(one, signers("ab"), None),)
    two = later(one)
    lines = appended(lines, sign(two, signers("bc"), one))
    assert [line.ring.version for line in lines] == [2]
    three = owned(later(two), "de", 1)
    lines = appended(lines, sign(three, signers("abd"), two))
    four = later(three)
    lines = appended(lines, sign(four, signers("d"), three))
    five = later(four)
    lines = appended(lines, sign(five, signers("e"), four))
    assert [line.ring.version for line in lines] == [2, 3, 5]
    assert decode(encode(lines)) == lines
    six = owned(later(five), "de", 2)  # a threshold is a matter of owners too
    lines = appended(lines, sign(six, signers("de"), five))
    assert [line.ring.version for line in lines] == [2, 3, 5, 6]
    for letters in ("bc", "ab", "d", "de"):
        assert trusted(decode(encode(lines)), publics(letters)) == six


def test_who_is_trusted(ring, signers, owned, publics):
    first = ring()
    second = owned(later(first), "de", 2)
    lines = (sign(first, signers("ab"), None), sign(second, signers("bcde"), first))
    for letters, threshold in (
        ("ab", None),
        ("bc", None),
        ("de", None),
        ("abc", 2),
        ("xyd", 1),
        ("aab", None),
    ):
        assert trusted(lines, publics(letters), threshold) == second
    for letters, threshold in (
        ("abc", 3),
        ("x", None),
        ("ax", None),
        ("ae", None),
        ("xyz", 1),
        ("abxy", None),
        ("abxyz", None),
    ):
        with pytest.raises(SignerMissing, match="owners that were named"):
            trusted(lines, publics(letters), threshold)
    for threshold in (0, 3, -1):
        with pytest.raises(ConfigInvalid, match="cannot be asked for"):
            trusted(lines, publics("ab"), threshold)
    with pytest.raises(ConfigInvalid, match="1 of 0"):
        trusted(lines, [])


def test_a_thief_of_one_owners_key_cannot_make_a_ring(tmp_path, ring, signers, owned, publics):
    """With a threshold of its own choice, it is signed by one of the owners whom the reader trusts."""
    mine = owned(ring(), "a", 1)
    path = tmp_path / "ring.json"
    path.write_bytes(encode([sign(mine, signers("a"), None)]))
    with pytest.raises(SignerMissing):
        Keyring.read(path, publics("abc"), 2)


def test_a_strangers_ring_cannot_be_put_before_or_after(ring, signers, owned, signer_of):
    genuine = sign(ring(version=5, issued=NOON + 5 * HOUR), signers("ab"), None)
    stranger = owned(ring(version=1), "x", 1)
    before = sign(stranger, signers("x"), None)
    after = owned(later(genuine.ring), "x", 1)
    for data in (
        encode([before, genuine]),
        encode([genuine]) + forged(after, "x", signer_of),
        encode([genuine]) + forged(after, "ax", signer_of),
    ):
        with pytest.raises(SealRefused):
            decode(data)


def test_versions_follow_each_other(ring, signers):
    first = ring(version=5)
    good = sign(first, signers("ab"), None)
    for changes, said in (
        ({"version": 5}, "version 5 of the keyring follows version 5"),
        ({"version": 4}, "version 4 of the keyring follows version 5"),
        ({"version": 6, "issued": NOON - HOUR}, "issued before"),
        ({"version": 6, "ring": "ff" * 16}, "another keyring"),
    ):
        other = sign(later(first, **{"version": 6, **changes}), signers("ab"), None)
        with pytest.raises(SealDamaged, match=said):
            decode(encode([good, other]))
        with pytest.raises(SealDamaged, match=said):
            sign(other.ring, signers("ab"), first)
    decode(encode([good, sign(later(first, version=600), signers("ab"), first)]))


def test_swapped_and_dropped_lines(ring, signers, owned):
    one = ring()
    two = owned(later(one), "d", 1)
    three = owned(later(two), "e", 1)
    lines = (
        sign(one, signers("ab"), None),
        sign(two, signers("abd"), one),
        sign(three, signers("de"), two),
    )
    assert decode(encode(lines)) == lines
    for order in ((0, 2, 1), (1, 0, 2), (2, 1, 0), (0, 2), (0, 0, 1, 2)):
        with pytest.raises(SealRefused):
            decode(encode([lines[i] for i in order]))


def test_limits(ring, signers, monkeypatch, tmp_path, owned):
    line = encode([sign(owned(ring(), "a", 1), signers("a"), None)])
    with pytest.raises(SealDamaged, match="1 to 64"):
        decode(line * 65)
    with pytest.raises(SealDamaged, match="1 to 64"):
        decode(b"\n" * 100)
    path = tmp_path / "ring.json"
    path.write_bytes(line)
    monkeypatch.setattr(ringfile, "LARGEST", len(line) - 1)
    with pytest.raises(SealDamaged, match="more than"):
        ringfile.read_chain(path)
    monkeypatch.setattr(ringfile, "SIGNATURES", 0)
    with pytest.raises(SealDamaged, match="over 0 signatures"):
        decode(line)


def test_what_could_not_be_read_again_is_not_written(ring, signers, monkeypatch, owned):
    """Owners who change for the 64th time keep the ring that they have."""
    lines = [sign(owned(ring(), "a", 1), signers("a"), None)]
    while len(lines) < ringfile.LINES:
        before = lines[-1].ring
        lines.append(sign(owned(later(before), "ab"[len(lines) % 2], 1), signers("ab"), before))
    assert decode(encode(lines)) == tuple(lines)
    before = lines[-1].ring
    with pytest.raises(ConfigInvalid, match="65 lines") as caught:
        encode(appended(lines, sign(owned(later(before), "a", 1), signers("ab"), before)))
    assert "new keyring" in caught.value.advice
    monkeypatch.setattr(ringfile, "LARGEST", len(encode(lines)) - 1)
    with pytest.raises(ConfigInvalid, match="may have"):
        encode(lines)


def test_no_file(tmp_path, publics):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileMissing, match="cannot be read"):
            Keyring.read(path, publics("a"))


def test_a_line_alone_may_wait_for_signatures(ring, signers):
    line = sign(ring(), signers("a"), None)
    text = encode([line]).rstrip(b"\n")
    assert decode_line(text, None) == line
    with pytest.raises(SealDamaged):
        decode_line(text + b" ", None)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ml-dsa-65"])
def test_owners_of_other_kinds(ring, algorithm):
    from modelward.vault.hazmat import asymmetric
    from modelward.vault.keys.signer import LocalSigner

    owner = LocalSigner(asymmetric.generate(algorithm))
    one = ring(owners=(owner.public.pem.decode(),), threshold=1)
    line = sign(one, [owner], None)
    assert trusted(decode(encode([line])), [owner.public]) == one
