"""Points and signatures in other people's forms."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import KeyUnusable
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.points import der_signature, ecdsa_pem, ed25519_pem

CURVES = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1(), "ecdsa-p521": ec.SECP521R1()}


@pytest.mark.parametrize("form", ["UncompressedPoint", "CompressedPoint"])
@pytest.mark.parametrize("algorithm", CURVES)
def test_points_become_the_same_key(algorithm, form):
    public = asymmetric.generate(algorithm).public_key()
    point = public.public_bytes(serialization.Encoding.X962, getattr(serialization.PublicFormat, form))
    assert ecdsa_pem(algorithm, point) == asymmetric.public_pem(public)


@pytest.mark.parametrize(
    "point", [b"", b"\x00", b"\x04" + bytes(64), b"\x04" + b"\xff" * 64, b"\x04" + bytes(63)]
)
def test_what_is_no_point(point):
    with pytest.raises(KeyUnusable, match="no point of the curve of ecdsa-p256"):
        ecdsa_pem("ecdsa-p256", point)


def test_a_point_of_another_curve():
    public = asymmetric.generate("ecdsa-p384").public_key()
    uncompressed = serialization.PublicFormat.UncompressedPoint
    with pytest.raises(KeyUnusable):
        ecdsa_pem("ecdsa-p256", public.public_bytes(serialization.Encoding.X962, uncompressed))


def test_raw_ed25519():
    """The key of RFC 8032, section 7.1, test 1; its SubjectPublicKeyInfo begins as RFC 8410 has it."""
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    der = asymmetric.load_public(ed25519_pem(raw)).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert der == bytes.fromhex("302a300506032b6570032100") + raw
    for wrong in (raw[1:], raw + b"\x00", b""):
        with pytest.raises(KeyUnusable, match="32 bytes"):
            ed25519_pem(wrong)


@given(r=st.integers(0, 2**256 - 1), s=st.integers(0, 2**256 - 1))
def test_two_numbers_become_der(r, s):
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert decode_dss_signature(der_signature(raw)) == (r, s)


@pytest.mark.parametrize("length", [0, 1, 63])
def test_lengths_that_are_no_two_numbers(length):
    with pytest.raises(KeyUnusable, match="two numbers"):
        der_signature(bytes(length))


def test_a_signature_verifies_after_the_way_there_and_back():
    key = ec.generate_private_key(ec.SECP384R1())
    r, s = decode_dss_signature(key.sign(b"m", ec.ECDSA(hashes.SHA384())))
    raw = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    asymmetric.verify(key.public_key(), der_signature(raw), b"m")
