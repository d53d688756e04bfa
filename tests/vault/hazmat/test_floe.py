"""FLOE by its published vectors, by a second implementation written from the text, and by damage."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import SealDamaged
from modelward.vault.hazmat import floe
from modelward.vault.hazmat.floe import HEADER, OVERHEAD, Floe, Parameters

VECTORS = Path(__file__).parents[2] / "vectors" / "seal" / "floe"
ZERO, AAD = bytes(32), b"This is AAD"
SIZES = {
    "GCM256_IV256_4K": Parameters(4096),
    "GCM256_IV256_64": Parameters(64),
    "rotation": Parameters(40, rotation=2),
    "lastSegAligned": Parameters(40),
    "lastSegEmpty": Parameters(40),
}
SMALL = Parameters(40)  # eight bytes of plaintext a segment


def vector(name):
    for end, parameters in SIZES.items():
        if name.endswith(end):
            read = [bytes.fromhex((VECTORS / f"{name}_{half}.txt").read_text()) for half in ("ct", "pt")]
            return parameters, *read
    raise AssertionError(name)


def opened(key, aad, parameters, ciphertext):
    return bytes(
        floe.decrypt(
            key, aad, parameters, len(ciphertext), lambda offset, size: ciphertext[offset : offset + size]
        )
    )


def sealed(key, aad, parameters, plaintext):
    writer = Floe.encrypting(key, aad, parameters)
    count, out = parameters.segments(len(plaintext)), bytearray(parameters.segment)
    parts = [writer.header]
    for position in range(count):
        piece = plaintext[position * parameters.room : (position + 1) * parameters.room]
        size = writer.encrypt_segment(position, piece, out, last=position == count - 1)
        parts.append(bytes(out[:size]))
    return b"".join(parts)


# A second route: the text of the specification, literally, on HMAC and the library's one-call AEAD.


def expand(key, info, length):
    block, output, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha384).digest()
        output, counter = output + block, counter + 1
    return output[:length]


def plainly_opened(key, aad, segment, ciphertext, rotation=20):
    encoded = b"\0\0" + segment.to_bytes(4, "big") + (32).to_bytes(4, "big")
    assert ciphertext[:10] == encoded
    iv = ciphertext[10:42]
    assert ciphertext[42:74] == expand(key, encoded + iv + b"HEADER_TAG:" + aad, 32)
    message = expand(key, encoded + iv + b"MESSAGE_KEY:" + aad, 48)
    body, out, position = ciphertext[74:], b"", 0
    while True:
        more = body[:4] == b"\xff" * 4
        size = segment if more else int.from_bytes(body[:4], "big")
        epoch = position & ~((1 << rotation) - 1)
        dek = expand(message, encoded + iv + b"DEK:" + epoch.to_bytes(8, "big") + aad, 32)
        place = position.to_bytes(8, "big") + (b"\0" if more else b"\1")
        out += AESGCM(dek).decrypt(body[4:16], body[16:size], place)
        body, position = body[size:], position + 1
        if not more:
            assert body == b""
            return out


@pytest.mark.parametrize("name", sorted(p.name.removesuffix("_ct.txt") for p in VECTORS.glob("*_ct.txt")))
def test_published_vectors_open(name):
    parameters, ciphertext, plaintext = vector(name)
    assert opened(ZERO, AAD, parameters, ciphertext) == plaintext
    assert parameters.opened_length(len(ciphertext)) == len(plaintext)
    assert plainly_opened(ZERO, AAD, parameters.segment, ciphertext, parameters.rotation) == plaintext


def test_all_small_published_vectors_are_here():
    assert len(list(VECTORS.glob("*_ct.txt"))) == 17


def test_every_segment_of_a_vector_opens_alone_and_in_any_order():
    parameters, ciphertext, plaintext = vector("pub_java_rotation")
    reader = Floe.decrypting(ZERO, AAD, ciphertext[:HEADER], parameters)
    count = parameters.segments(len(plaintext))
    for position in [*range(count - 1, -1, -1), *range(0, count, 3)]:
        begin = HEADER + position * parameters.segment
        piece = ciphertext[begin : begin + parameters.segment]
        out = bytearray(parameters.room)
        size = reader.decrypt_segment(position, piece, out, last=position == count - 1)
        assert out[:size] == plaintext[position * 8 :][:8]


@pytest.mark.parametrize(
    "name", ["java_rotation", "java_lastSegAligned", "java_lastSegEmpty", "go_GCM256_IV256_64"]
)
def test_every_byte_of_a_vector_counts(name):
    parameters, ciphertext, _ = vector(name)
    for index in range(len(ciphertext)):
        for change in (1, 0x80):
            other = bytearray(ciphertext)
            other[index] ^= change
            with pytest.raises(SealDamaged):
                opened(ZERO, AAD, parameters, bytes(other))


@pytest.mark.parametrize("name", ["java_rotation", "java_lastSegAligned", "java_lastSegEmpty"])
def test_no_beginning_of_a_vector_opens(name):
    parameters, ciphertext, _ = vector(name)
    for length in range(len(ciphertext)):
        with pytest.raises(SealDamaged):
            opened(ZERO, AAD, parameters, ciphertext[:length])
    with pytest.raises(SealDamaged):
        opened(ZERO, AAD, parameters, ciphertext + bytes(1))
    with pytest.raises(SealDamaged):
        opened(ZERO, AAD, parameters, ciphertext + bytes(40))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.binary(max_size=40), st.integers(33, 90), st.integers(0, 3))
def test_what_is_sealed_opens_by_both_routes(plaintext, aad, segment, rotation):
    key, parameters = os.urandom(32), Parameters(segment, rotation)
    ciphertext = sealed(key, aad, parameters, plaintext)
    assert len(ciphertext) == parameters.sealed_length(len(plaintext))
    assert parameters.opened_length(len(ciphertext)) == len(plaintext)
    assert opened(key, aad, parameters, ciphertext) == plaintext
    assert plainly_opened(key, aad, segment, ciphertext, rotation) == plaintext


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else(noise):
    with pytest.raises(SealDamaged):
        opened(ZERO, AAD, SMALL, noise)
    header = SMALL.encode() + noise
    with pytest.raises(SealDamaged):
        opened(ZERO, AAD, SMALL, header)


def test_segments_of_the_container_open_by_the_second_route():
    """One MiB of plaintext a segment, as containers have it; the published vectors of that size are too large to keep."""
    parameters, key = Parameters((1 << 20) + OVERHEAD), os.urandom(32)
    plaintext = os.urandom((1 << 20) + 5)
    ciphertext = sealed(key, b"a", parameters, plaintext)
    assert plainly_opened(key, b"a", parameters.segment, ciphertext) == plaintext


def test_segments_cannot_change_places_or_ends():
    key, aad = os.urandom(32), b"place"
    ciphertext = sealed(key, aad, SMALL, bytes(range(24)))
    header, segments = ciphertext[:HEADER], [ciphertext[HEADER + 40 * i :][:40] for i in range(3)]
    for order in ([1, 0, 2], [0, 2, 1], [0, 0, 2], [0, 2], [2], [0, 1], [0, 1, 2, 2]):
        with pytest.raises(SealDamaged):
            opened(key, aad, SMALL, header + b"".join(segments[i] for i in order))
    reader = Floe.decrypting(key, aad, header, SMALL)
    out = bytearray(8)
    with pytest.raises(SealDamaged, match="is not the last"):
        reader.decrypt_segment(2, segments[1], out, last=True)
    forged = bytearray(segments[1])
    forged[:4] = (40).to_bytes(4, "big")  # says that it is the last
    with pytest.raises(SealDamaged, match="altered or moved"):
        reader.decrypt_segment(1, forged, out, last=True)


def test_one_ciphertext_has_one_key_one_place_and_one_size():
    key = os.urandom(32)
    ciphertext = sealed(key, b"here", SMALL, b"weights")
    for other_key, aad, parameters in [
        (os.urandom(32), b"here", SMALL),
        (key, b"there", SMALL),
        (key, b"here", Parameters(48)),
    ]:
        with pytest.raises(SealDamaged):
            opened(other_key, aad, parameters, ciphertext)


def test_segments_of_two_ciphertexts_under_one_key_do_not_mix():
    key = os.urandom(32)
    first, second = (sealed(key, b"", SMALL, bytes([n]) * 20) for n in (1, 2))
    with pytest.raises(SealDamaged):
        opened(key, b"", SMALL, first[: HEADER + 40] + second[HEADER + 40 :])
    with pytest.raises(SealDamaged):
        opened(key, b"", SMALL, second[:HEADER] + first[HEADER:])


def test_the_writer_refuses_what_would_not_open():
    writer = Floe.encrypting(ZERO, b"", SMALL)
    out = bytearray(64)
    for size, last in [(7, False), (9, False), (9, True)]:
        with pytest.raises(ValueError, match="no segment"):
            writer.encrypt_segment(0, bytes(size), out, last=last)
    for position in (-1, 2**40):
        with pytest.raises(ValueError, match="no segment"):
            writer.encrypt_segment(position, bytes(8), out, last=False)
        with pytest.raises(SealDamaged):
            writer.decrypt_segment(position, bytes(40), out, last=False)
    with pytest.raises(ValueError, match="32 bytes"):
        Floe.encrypting(bytes(16), b"", SMALL)
    for size in (32, 2**32 - 1):
        with pytest.raises(ValueError, match="out of range"):
            Floe.encrypting(ZERO, b"", Parameters(size))


def test_no_key_shows():
    key = bytes(range(32))
    writer = Floe.encrypting(key, b"", SMALL)
    assert key.hex() not in repr(writer)
    assert "40 bytes" in repr(writer)


def test_nonces_and_ivs_are_fresh():
    texts = {sealed(ZERO, b"", SMALL, b"same") for _ in range(50)}
    assert len({text[10:42] for text in texts}) == len({text[78:90] for text in texts}) == 50


def test_threads_share_one_writer_across_a_change_of_key():
    parameters, key = Parameters(40, rotation=1), os.urandom(32)
    writer = Floe.encrypting(key, b"", parameters)
    parts = [b""] * 64

    def work(first):
        out = bytearray(40)
        for position in range(first, 64, 4):
            size = writer.encrypt_segment(position, bytes([position]) * 8, out, last=position == 63)
            parts[position] = bytes(out[:size])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plain = b"".join(bytes([position]) * 8 for position in range(64))
    assert plainly_opened(key, b"", 40, writer.header + b"".join(parts), rotation=1) == plain
