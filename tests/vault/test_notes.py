"""Signed notes: the answers of Go's implementation and of the specifications, and everything that is refused."""

import base64
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import (
    KeyUnusable,
    RolledBack,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.ledger.checkpoint import Checkpoint
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.notes import (
    LOG,
    TOLERANCE,
    WITNESS,
    Cosigned,
    Note,
    NoteKey,
    NoteSignature,
    Trust,
    cosign,
    key_of,
    open_checkpoint,
    parse_key,
    parse_note,
    sign_note,
    stated,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "seal" / "ledger" / "published.json").read_text(encoding="utf-8")
)
GO, SPEC, FORMATS, WITNESSED = (VECTORS[name] for name in ("go", "spec", "formats", "witness"))
NOW = 1_800_000_000
ORIGIN = "example.com/log"
CHECKPOINT = Checkpoint(origin=ORIGIN, size=7, root=bytes(range(32)))


def signer(seed):
    """From the 32 bytes after the type in base64, or from a number."""
    raw = base64.b64decode(seed)[1:] if isinstance(seed, str) else bytes([seed]) * 32
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(raw))


LOG_SIGNER, FIRST, SECOND = signer(1), signer(2), signer(3)
LOG_KEY = key_of(LOG_SIGNER.public, ORIGIN, LOG)
W1 = key_of(FIRST.public, "w1.example", WITNESS)
W2 = key_of(SECOND.public, "w2.example", WITNESS)


def signed(*lines, checkpoint=CHECKPOINT):
    text = checkpoint.text()
    return Note(text, (sign_note(text, LOG_SIGNER, ORIGIN), *lines)).encode()


def by(witness, name, moment=NOW - 10, checkpoint=CHECKPOINT):
    return cosign(checkpoint.text(), witness, name, moment)


def opened(data, *witnesses, threshold=None, moment=NOW, logs=(LOG_KEY,), origin=None):
    return open_checkpoint(
        data, Trust(logs=logs, witnesses=witnesses, threshold=threshold, origin=origin), moment
    )


@pytest.mark.parametrize("who", ["peter", "enoch"])
def test_the_keys_of_go(who):
    key = parse_key(GO[who]["key"])
    assert key.kind == LOG
    assert key.text() == GO[who]["key"]
    assert key.name == GO[who]["key"].split("+")[0]
    assert key.verifier().algorithm == "ed25519"


def test_every_part_of_a_key_is_no_key():
    key = GO["peter"]["key"]
    for start in range(len(key) + 1):
        for end in range(start + 1, len(key) + 1):
            if (start, end) != (0, len(key)):
                with pytest.raises(KeyUnusable):
                    parse_key(key[start:end])


def test_every_changed_letter_of_a_key_is_refused():
    key = GO["peter"]["key"]
    for place in range(len(key)):
        with pytest.raises(KeyUnusable):
            parse_key(key[:place] + chr(ord(key[place]) + 1) + key[place + 1 :])


@pytest.mark.parametrize(
    "text", [*GO["bad_keys"], *FORMATS["refused_keys"], "", "+", "++", "a+b+c", "é+00000000+AQ=="]
)
def test_keys_that_other_implementations_refuse(text):
    with pytest.raises(KeyUnusable):
        parse_key(text)


def test_keys_of_other_types_are_refused_by_their_type():
    with pytest.raises(KeyUnusable, match="is of type 6; known are 1"):
        parse_key(NoteKey("test", 6, bytes(32)).text())


def test_the_keys_of_the_formats_library():
    assert parse_key(FORMATS["log_key"]).kind == LOG
    assert parse_key(FORMATS["witness_key"]).kind == WITNESS
    assert parse_key(FORMATS["witness_key"]).name == "remora.n621.de"
    assert parse_key("\n " + FORMATS["witness_key"] + " \n").text() == FORMATS["witness_key"]


def test_a_note_of_go_verifies():
    note = parse_note((GO["text"] + "\n" + GO["peter"]["line"] + GO["enoch"]["line"]).encode())
    assert note.text == GO["text"]
    for who, line in zip(("peter", "enoch"), note.signatures, strict=True):
        key = parse_key(GO[who]["key"])
        assert (line.name, line.key_id) == (key.name, key.key_id)
        key.verifier().verify(line.value, note.text.encode())
        assert line.line() == GO[who]["line"]


def test_signing_gives_the_bytes_of_go():
    """Ed25519 is deterministic, so another implementation's line must come out letter by letter."""
    peter = signer(GO["peter"]["seed"])
    assert sign_note(GO["text"], peter, "PeterNeumann").line() == GO["peter"]["line"]
    assert key_of(peter.public, "PeterNeumann", LOG).text() == GO["peter"]["key"]


def test_the_example_of_the_specification():
    key, note = parse_key(SPEC["key"]), parse_note(SPEC["note"].encode())
    assert note.text == "This is an example message.\n"
    key.verifier().verify(note.signatures[0].value, note.text.encode())
    with pytest.raises(SignatureInvalid):
        key.verifier().verify(note.signatures[0].value, b"This is another message.\n")


def test_a_note_may_hold_empty_lines():
    note = parse_note(SPEC["poem"].encode())
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert len(note.signatures) == 1
    assert note.encode() == SPEC["poem"].encode()


@pytest.mark.parametrize("which", ["first", "next"])
def test_checkpoints_of_the_witness_of_another_implementation(which):
    data = WITNESSED[which].encode()
    key = parse_key(WITNESSED["log_key"])
    found = open_checkpoint(data, Trust(logs=(key,)), NOW)
    assert found.checkpoint.origin == found.log == "monkeys"
    again = sign_note(found.checkpoint.text(), signer(WITNESSED["log_seed"]), "monkeys")
    assert Note(found.checkpoint.text(), (again,)).encode() == data


def test_the_time_in_a_published_cosignature():
    for vector in FORMATS["timestamps"]:
        line = parse_note(f"x\n\n— w {vector['value']}\n".encode()).signatures[0]
        assert int.from_bytes(line.value[:8], "big") == vector["time"]
        assert len(line.value) == 8 + 64
    line = parse_note(f"x\n\n{SPEC['cosigned_line']}".encode()).signatures[0]
    assert int.from_bytes(line.value[:8], "big") == SPEC["cosigned_time"]


def test_what_a_cosignature_is_over():
    line = by(FIRST, "w1.example", 1679315147)
    message = b"cosignature/v1\ntime 1679315147\n" + CHECKPOINT.text().encode()
    W1.verifier().verify(line.value[8:], message)
    assert line.value[:8] == (1679315147).to_bytes(8, "big")
    assert line.key_id != key_of(FIRST.public, "w1.example", LOG).key_id


def test_the_key_of_a_witness_has_another_identifier():
    """The published key of the witness is of type 1; the same key as a cosigner's has type 4."""
    published = parse_key(WITNESSED["witness_key_as_log"])
    witness = key_of(signer(WITNESSED["witness_seed"]).public, "witness", WITNESS)
    assert witness.public == published.public
    assert witness.key_id != published.key_id
    assert parse_key(witness.text()) == witness


def test_a_checkpoint_with_its_witnesses():
    found = opened(signed(by(FIRST, "w1.example"), by(SECOND, "w2.example", NOW)), W1, W2)
    assert found.checkpoint == CHECKPOINT
    assert found.log == ORIGIN
    assert found.witnesses == (Cosigned("w1.example", NOW - 10), Cosigned("w2.example", NOW))


@pytest.mark.parametrize(
    ("present", "threshold", "enough"),
    [
        (0, None, False),
        (1, None, False),
        (2, None, True),
        (0, 1, False),
        (1, 1, True),
        (1, 2, False),
        (2, 2, True),
    ],
)
def test_k_of_n_witnesses(present, threshold, enough):
    lines = (by(FIRST, "w1.example"), by(SECOND, "w2.example"))[:present]
    if enough:
        assert len(opened(signed(*lines), W1, W2, threshold=threshold).witnesses) == present
    else:
        with pytest.raises(SignerMissing, match=f"{present} of {threshold or 2} witnesses"):
            opened(signed(*lines), W1, W2, threshold=threshold)


def test_one_key_under_two_names_is_one_witness():
    twin = key_of(FIRST.public, "twin.example", WITNESS)
    data = signed(by(FIRST, "w1.example"), by(FIRST, "twin.example"))
    with pytest.raises(SignerMissing, match="1 of 2"):
        opened(data, W1, twin, threshold=2)
    assert len(opened(data, W1, twin).witnesses) == 1  # all of one


def test_two_lines_of_one_witness_are_one_and_the_later_counts():
    data = signed(
        by(FIRST, "w1.example", NOW - 9), by(FIRST, "w1.example", NOW - 5), by(FIRST, "w1.example", NOW - 7)
    )
    assert opened(data, W1).witnesses == (Cosigned("w1.example", NOW - 5),)
    with pytest.raises(SignerMissing, match="1 of 2"):
        opened(data, W1, W2)


def test_lines_of_unknown_keys_are_passed_over():
    """Also those of types that are not known here, such as ML-DSA-44's."""
    odd = NoteSignature(ORIGIN, b"\0\0\0\0", b"x" * 2428)
    assert opened(signed(odd, by(SECOND, "w2.example")), W1, threshold=0).witnesses == ()
    with pytest.raises(SignerMissing, match=re.escape("0 of 1")):
        opened(signed(odd, by(SECOND, "w2.example")), W1)


@pytest.mark.parametrize("place", [0, 8, 40, 71])
def test_a_wrong_line_of_a_known_key_refuses_the_whole(place):
    right, wrong = by(FIRST, "w1.example"), bytearray(by(FIRST, "w1.example").value)
    wrong[place] ^= 1
    bad = NoteSignature(right.name, right.key_id, bytes(wrong))
    for lines in ((bad,), (right, bad), (bad, right)):
        with pytest.raises(SealRefused):
            opened(signed(*lines), W1)
    log = sign_note("another text\n", LOG_SIGNER, ORIGIN)
    with pytest.raises(SignatureInvalid, match="not over this checkpoint"):
        opened(signed(log))


@pytest.mark.parametrize("value", [b"", b"1234567", bytes(8), bytes(72), b"\xff" * 72])
def test_a_cosignature_without_a_time(value):
    line = NoteSignature("w1.example", W1.key_id, value or b"\0")
    with pytest.raises(SealDamaged, match="states no time"):
        opened(signed(line), W1)


def test_a_cosignature_of_another_checkpoint():
    other = Checkpoint(origin=ORIGIN, size=8, root=bytes(32))
    with pytest.raises(SignatureInvalid, match=r"w1\.example"):
        opened(signed(by(FIRST, "w1.example", checkpoint=other)), W1)


def test_a_plain_signature_is_no_cosignature():
    """A witness's key may not be tricked into standing for a log's, nor the other way round."""
    plain = sign_note(CHECKPOINT.text(), FIRST, "w1.example")
    with pytest.raises(SignerMissing):
        opened(signed(plain), W1)
    as_witness = NoteSignature("w1.example", W1.key_id, (NOW).to_bytes(8, "big") + plain.value)
    with pytest.raises(SignatureInvalid):
        opened(signed(as_witness), W1)


@pytest.mark.parametrize("ahead", [-3600, 0, TOLERANCE])
def test_a_clock_that_is_a_little_ahead(ahead):
    assert opened(signed(by(FIRST, "w1.example", NOW + ahead)), W1).witnesses[0].moment == NOW + ahead


@pytest.mark.parametrize("ahead", [TOLERANCE + 1, 86400, 2**62])
def test_a_cosignature_of_the_future_is_refused(ahead):
    with pytest.raises(RolledBack, match="seconds after the time") as refused:
        opened(signed(by(FIRST, "w1.example", NOW + ahead)), W1)
    assert "clock" in refused.value.advice


def test_another_log_is_refused():
    other = Checkpoint(origin="example.com/other", size=7, root=bytes(32))
    text = other.text()
    data = Note(text, (sign_note(text, LOG_SIGNER, ORIGIN),)).encode()
    with pytest.raises(SignerMissing, match=r"is of .example\.com/other. and not of example\.com/log"):
        opened(data)
    assert opened(data, origin="example.com/other").log == ORIGIN  # said by who verifies
    with pytest.raises(SignerMissing, match=r"and not of example\.com/log"):
        opened(data, origin=ORIGIN)


def test_a_log_that_nobody_named():
    with pytest.raises(SignerMissing, match="any log that was named"):
        opened(signed(), logs=())
    stranger = key_of(SECOND.public, ORIGIN, LOG)
    with pytest.raises(SignerMissing, match=r"not signed by the key of example\.com/log"):
        opened(signed(), logs=(stranger,))
    assert opened(signed(), logs=(stranger, LOG_KEY)).log == ORIGIN  # any of them, as when a key is replaced


def test_every_flipped_byte_of_a_checkpoint_is_refused():
    data = signed(by(FIRST, "w1.example"), by(SECOND, "w2.example"))
    assert len(opened(data, W1, W2).witnesses) == 2
    for place in range(len(data)):
        for flip in (0x01, 0x02, 0x10, 0x20, 0x80, 0xFF):
            broken = bytearray(data)
            broken[place] ^= flip
            with pytest.raises(SealRefused):
                opened(bytes(broken), W1, W2)


def test_every_beginning_and_every_end_of_a_checkpoint_is_refused():
    data = signed(by(FIRST, "w1.example"))
    for place in range(len(data)):
        with pytest.raises(SealRefused):
            opened(data[:place], W1)
        if place:
            with pytest.raises(SealRefused):
                opened(data[place:], W1)


def test_a_line_of_text_cannot_become_a_signature_line():
    text = CHECKPOINT.text()
    forged = (text + "\n" + sign_note(text, LOG_SIGNER, ORIGIN).line() + "\n" + "— x AAAAAAAA\n").encode()
    with pytest.raises(SealRefused):
        opened(forged)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        GO["text"].encode(),
        (GO["text"] + "\n").encode(),
        (GO["text"] + "\n" + GO["peter"]["line"])[:-1].encode(),
        ("\x01" + GO["text"] + "\n" + GO["peter"]["line"]).encode(),
        b"\xff" + (GO["text"] + "\n" + GO["peter"]["line"]).encode(),
        (GO["text"] + "\n— Bad Name " + GO["peter"]["line"].split()[-1] + "\n").encode(),
        (GO["text"] + "\n" + GO["peter"]["line"] + "Unexpected line.\n").encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("— ", "- ")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("— ", "—")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("=", "")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("JnAM=", "JnAN=")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace(" x08", "  x08")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("\n", " \n")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("\n", "\r\n")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("Peter", "Peter+")).encode(),
        (GO["text"] + "\n" + GO["peter"]["line"].replace("Peter", "Peter\u00a0")).encode(),
        (GO["text"] + "\n— PeterNeumann x08=\n").encode(),
        (GO["text"] + "\n— PeterNeumann x08goA==\n").encode(),
        (GO["text"] + "\n" + GO["peter"]["line"] * 65).encode(),
        (GO["text"] * 4000 + "\n" + GO["peter"]["line"]).encode(),
        b"\n" + (GO["peter"]["line"]).encode(),
    ],
)
def test_what_is_no_note(data):
    with pytest.raises(SealDamaged):
        parse_note(data)


def test_as_many_signatures_as_the_specification_asks_for():
    assert len(parse_note((GO["text"] + "\n" + GO["peter"]["line"] * 64).encode()).signatures) == 64


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="+"), min_size=1
)
names = names.filter(lambda name: len(name.split()) == 1 and name.strip() == name)
lines = st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=90))
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(lambda text: text + "\n")


@given(st.builds(Note, texts, st.lists(lines, min_size=1, max_size=5).map(tuple)))
def test_a_note_is_read_back(note):
    assert parse_note(note.encode()) == note


@given(st.builds(NoteKey, names, st.sampled_from([LOG, WITNESS]), st.binary(min_size=32, max_size=32)))
def test_a_key_is_read_back(key):
    assert parse_key(key.text()) == key


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_refused(data):
    try:
        assert parse_note(data).encode() == data
    except SealDamaged:
        return


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused(text):
    try:
        assert parse_key(text).text() == text.strip()
    except KeyUnusable:
        return


@given(st.binary(max_size=200))
def test_any_bytes_are_a_checkpoint_or_refused(data):
    with pytest.raises(SealRefused):
        opened(data)
    try:
        stated(data)
    except SealDamaged:
        return


@pytest.mark.parametrize("name", ["", " ", "a b", "a+b", "a\nb", "a\u00a0b", " a", "a ", "a\tb", "\x01"])
def test_names_that_no_key_may_have(name):
    with pytest.raises(KeyUnusable):
        NoteKey(name, LOG, bytes(32))


def test_only_ed25519_signs_checkpoints():
    other = LocalSigner(asymmetric.generate("ecdsa-p256"))
    with pytest.raises(KeyUnusable, match="ecdsa-p256 signs no checkpoints") as refused:
        sign_note("x\n", other, ORIGIN)
    assert "ed25519" in refused.value.advice
    with pytest.raises(KeyUnusable):
        NoteKey("x", LOG, bytes(31))


def test_what_a_checkpoint_states_whether_or_not_it_is_signed():
    assert stated(CHECKPOINT.text().encode()) == CHECKPOINT
    assert stated(signed()) == CHECKPOINT
    for data in (b"", b"x", signed()[:-1], b"\x01" + CHECKPOINT.text().encode(), b"x\n" * 200_000):
        with pytest.raises(SealDamaged):
            stated(data)


def test_a_key_made_elsewhere_is_the_same_key():
    verifier = LOG_KEY.verifier()
    assert verifier.pem == LOG_SIGNER.public.pem
    assert verifier.key_id == LOG_SIGNER.public.key_id


@pytest.mark.parametrize("name", ["\udcff", "log.example\ud800", "\udfff\udcff"])
def test_a_name_that_no_file_can_hold(name):
    """Arguments that are no UTF-8 come as surrogates, which no sentence could print."""
    with pytest.raises(KeyUnusable, match="is no name of a key") as refused:
        key_of(LOG_SIGNER.public, name, LOG)
    assert str(refused.value).isascii()
    with pytest.raises(KeyUnusable):
        parse_key(f"{name}+00000000+AQ==")


def test_a_long_name_is_cut_in_the_sentence():
    for kind in (LOG, 3):
        material = base64.b64encode(bytes([kind]) + bytes(32)).decode()
        with pytest.raises(KeyUnusable) as refused:
            parse_key(f"{'x' * 5000}+00000000+{material}")
        assert len(str(refused.value)) < 250
