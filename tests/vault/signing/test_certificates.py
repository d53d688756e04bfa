"""Certificates in a bundle: chains that hold, and every way in which they do not."""

import base64
import datetime as dt
import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelward.errors import KeyExpired, KeyUnusable, SealDamaged, SignatureInvalid, SignerMissing
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.signing.certificates import signing_key
from modelward.vault.signing.checking import check_files
from modelward.vault.signing.signing import sign_openssf
from modelward.vault.signing.verification import verify_bundle

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)
CA = (x509.BasicConstraints(ca=True, path_length=None), True)
SIGNS_CODE = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)


def usage(*, signature=False, certificates=False):
    return (
        x509.KeyUsage(
            digital_signature=signature, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=certificates, crl_sign=False, encipher_only=False, decipher_only=False,
        ),
        True,
    )  # fmt: skip


class Party:
    """A key and its certificate, by an issuer or by itself."""

    def __init__(self, name, issuer=None, extensions=(CA,), *, key=None, since=NOW - YEAR, until=NOW + YEAR):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())
        self.pem = self.certificate.public_bytes(Encoding.PEM)


def leaf(issuer, extensions=(), **options):
    return Party("signer", issuer, extensions or (usage(signature=True), SIGNS_CODE), **options)


def material(*parties):
    return {
        "x509CertificateChain": {
            "certificates": [
                {"rawBytes": base64.b64encode(p.certificate.public_bytes(Encoding.DER)).decode()}
                for p in parties
            ]
        }
    }


@pytest.fixture(scope="module")
def root():
    return Party("root", extensions=(CA, usage(certificates=True)))


@pytest.fixture(scope="module")
def middle(root):
    return Party("middle", root, (CA, usage(certificates=True)))


@pytest.fixture
def sealed(model, rewrite):
    """A bundle of the model by a party, with its certificates instead of the name of its key."""

    def make(*parties):
        def carry(value):
            value["verificationMaterial"] = material(*parties)
            value["dsseEnvelope"]["signatures"][0]["keyid"] = ""

        return rewrite(sign_openssf(model, [LocalSigner(parties[0].key)]), carry)

    return make


def test_a_bundle_that_carries_its_certificates(sealed, model, root, middle):
    signer = leaf(middle)
    data = sealed(signer, middle)
    verified = verify_bundle(data, [], authorities=root.pem, moment=NOW)
    assert verified.signers == (LocalSigner(signer.key).public.key_id,)
    assert check_files(verified.statement, model).files == 5
    assert (
        verify_bundle(data, [], authorities=middle.pem, moment=NOW) == verified
    )  # any authority ends the chain
    assert verify_bundle(data, [LocalSigner(signer.key).public]) == verified  # or the key itself is known


def test_certificates_are_not_believed_without_authorities(sealed, root, alice):
    data = sealed(leaf(root))
    with pytest.raises(SignatureInvalid, match="none of the 1 known keys"):
        verify_bundle(data, [alice.public])
    with pytest.raises(SignerMissing, match="no public key was given"):
        verify_bundle(data, [])


def test_somebody_elses_certificates(sealed, root):
    stranger = Party("root", extensions=(CA, usage(certificates=True)))  # the same name, another key
    with pytest.raises(SignerMissing, match="no authority that is trusted"):
        verify_bundle(sealed(leaf(stranger), stranger), [], authorities=root.pem, moment=NOW)


def test_a_certificate_of_another_key_than_signed(sealed, model, root, rewrite):
    mine, theirs = leaf(root), leaf(root)
    data = rewrite(sealed(mine), lambda value: value.update(verificationMaterial=material(theirs)))
    with pytest.raises(SignatureInvalid):
        verify_bundle(data, [], authorities=root.pem, moment=NOW)


def test_a_certificate_and_another_key_make_two(model, root, alice, rewrite):
    signer = leaf(root)
    data = sign_openssf(model, [LocalSigner(signer.key), alice])

    def carry(value):
        value["verificationMaterial"] = material(signer)
        value["dsseEnvelope"]["signatures"][0]["keyid"] = ""

    both = verify_bundle(rewrite(data, carry), [alice.public], authorities=root.pem, moment=NOW, threshold=2)
    assert len(both.signers) == 2


@pytest.mark.parametrize("days", [-366, 366, 5000])
def test_certificates_expire(root, days):
    moment = NOW + dt.timedelta(days=days)
    with pytest.raises(KeyExpired, match="valid from 2025-06-01 to 2027-06-01"):
        signing_key(material(leaf(root)), root.pem, moment)


def test_every_certificate_of_the_chain_must_be_valid(root):
    old = Party("middle", root, (CA,), until=NOW - dt.timedelta(days=1))
    with pytest.raises(KeyExpired):
        signing_key(material(leaf(old), old), root.pem, NOW)


def test_validity_holds_to_the_second(root):
    second = dt.timedelta(seconds=1)
    signer = leaf(root, since=NOW, until=NOW + 10 * second)
    for moment in (NOW, NOW + 10 * second):
        assert signing_key(material(signer), root.pem, moment)
    for moment in (NOW - second, NOW + 11 * second):
        with pytest.raises(KeyExpired):
            signing_key(material(signer), root.pem, moment)


def test_a_moment_without_a_zone_is_local(root):
    assert signing_key(material(leaf(root)), root.pem, NOW.replace(tzinfo=None))


def test_now_is_the_moment_unless_another_is_given():
    long_ago = Party("root", since=NOW - 20 * YEAR, until=NOW - 19 * YEAR)
    with pytest.raises(KeyExpired):
        signing_key(material(leaf(long_ago, since=NOW - 20 * YEAR)), long_ago.pem)


@pytest.mark.parametrize(
    "extensions",
    [
        (usage(signature=True),),
        (SIGNS_CODE,),
        (usage(signature=True), SIGNS_CODE),
        (usage(signature=True), SIGNS_CODE, CA),
        (usage(signature=True), (x509.SubjectAlternativeName([x509.DNSName("example.com")]), False)),
    ],
)
def test_certificates_that_may_sign(root, extensions):
    signer = leaf(root, extensions)
    assert signing_key(material(signer), root.pem, NOW).key_id == LocalSigner(signer.key).public.key_id


@pytest.mark.parametrize(
    ("extensions", "sentence"),
    [
        ((CA,), "does not say that it may sign"),
        ((usage(certificates=True), SIGNS_CODE), r"may not sign \(key usage\)"),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False), "may not sign code"),
        (
            (usage(signature=True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)),
            "sign code",
        ),
        (
            (usage(signature=True), (x509.NameConstraints([x509.DNSName("a.b")], None), True)),
            "not understood",
        ),
        (
            (
                usage(signature=True),
                (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
            ),
            "1.2.3.4",
        ),
    ],
)
def test_certificates_that_may_not_sign(root, extensions, sentence):
    if isinstance(extensions[0], x509.ExtensionType):
        extensions = (extensions,)
    with pytest.raises(SignatureInvalid, match=sentence):
        signing_key(material(leaf(root, extensions)), root.pem, NOW)


@pytest.mark.parametrize(
    "extensions",
    [
        (usage(signature=True),),
        ((x509.BasicConstraints(ca=False, path_length=None), True),),
        (CA, usage(signature=True)),
    ],
)
def test_issuers_that_may_not_issue(root, extensions):
    """The classic hole: a signer's certificate passes for an authority's."""
    false = Party("middle", root, extensions)
    with pytest.raises(SignatureInvalid, match="may not issue any"):
        signing_key(material(leaf(false), false), root.pem, NOW)


def test_the_length_of_the_chain_is_limited_by_its_authorities():
    root = Party("root", extensions=((x509.BasicConstraints(ca=True, path_length=0), True),))
    assert signing_key(material(leaf(root)), root.pem, NOW)
    middle = Party("middle", root)
    with pytest.raises(SignatureInvalid, match="longer than an authority allows"):
        signing_key(material(leaf(middle), middle), root.pem, NOW)


def test_chains_may_be_as_long_as_their_authorities_allow(root):
    allows_one = Party("root", extensions=((x509.BasicConstraints(ca=True, path_length=1), True),))
    middle = Party("middle", allows_one)
    assert signing_key(material(leaf(middle), middle), allows_one.pem, NOW)
    parties = [root]
    for depth in range(7):
        parties.append(Party(f"{depth}", parties[-1]))
    signer = leaf(parties[-1])
    chain = [signer, *reversed(parties[1:])]
    assert len(chain) == 8
    assert signing_key(material(*chain), root.pem, NOW).key_id == LocalSigner(signer.key).public.key_id


def test_chains_that_go_in_circles_end(root):
    """Two authorities that vouch for each other and for nobody who is trusted."""
    a, b = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    first = Party("a", key=a)
    second = Party("b", first, key=b)
    again = Party("a", second, key=a)
    with pytest.raises(SignerMissing, match="no authority that is trusted"):
        signing_key(material(leaf(again), again, second), root.pem, NOW)


def test_chains_are_long_at_most_eight(root):
    with pytest.raises(SealDamaged, match="no chain of 1 to 8 certificates"):
        signing_key(material(*[leaf(root)] * 9), root.pem, NOW)


@pytest.mark.parametrize(
    "chain",
    [
        None,
        {},
        [],
        {"certificates": None},
        {"certificates": []},
        {"certificates": [1]},
        {"certificates": [{}]},
        {"certificates": [{"rawBytes": 1}]},
        {"certificates": [{"rawBytes": "?"}]},
        {"certificates": [{"rawBytes": ""}]},
        {"certificates": [{"rawBytes": "AAAA"}]},
    ],
)
def test_chains_that_are_none(root, chain):
    with pytest.raises(SealDamaged):
        signing_key({"x509CertificateChain": chain}, root.pem, NOW)


def test_every_byte_of_a_certificate(root):
    """Whatever is changed in it, its issuer did not sign; a key of another kind is named as such."""
    good = leaf(root)
    der = good.certificate.public_bytes(Encoding.DER)
    unused_bits = len(der) - len(good.certificate.signature) - 1  # of the signature, which are no part of it
    for place, mask in itertools.product(range(len(der)), (0x01, 0x04, 0x20, 0x80, 0xFF)):
        changed = bytearray(der)
        changed[place] ^= mask
        chain = {"certificates": [{"rawBytes": base64.b64encode(bytes(changed)).decode()}]}
        try:
            found = signing_key({"x509CertificateChain": chain}, root.pem, NOW)
        except (SealDamaged, SignerMissing, SignatureInvalid, KeyExpired, KeyUnusable):
            continue
        assert (place, found.key_id) == (unused_bits, LocalSigner(good.key).public.key_id)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("30038201ff", "not what RFC 5280 allows"),  # the issuer's serial number is negative: only warned of
        ("3018a0031601ff", "the extensions of a certificate cannot be read"),
    ],
)
def test_extensions_that_the_rfc_does_not_allow(root, value, sentence):
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.35"), bytes.fromhex(value))
    with pytest.raises(SealDamaged, match=sentence):
        signing_key(material(leaf(root, (usage(signature=True), (odd, False)))), root.pem, NOW)


@pytest.mark.parametrize("pem", [b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_authorities_that_cannot_be_read(root, pem):
    with pytest.raises(KeyUnusable, match="no certificates in PEM"):
        signing_key(material(leaf(root)), pem, NOW)


def test_keys_of_certificates_that_do_not_sign_here(root):
    with pytest.raises(KeyUnusable, match="does not sign here"):
        signing_key(material(leaf(root, key=rsa.generate_private_key(65537, 2048))), root.pem, NOW)


def test_a_trusted_certificate_whose_key_is_no_point_of_its_curve(root):
    good = leaf(root).certificate
    point = good.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    bad = good.public_bytes(Encoding.DER).replace(point, point[:1] + bytes(64))
    chain = {"certificates": [{"rawBytes": base64.b64encode(bad).decode()}]}
    pem = x509.load_der_x509_certificate(bad).public_bytes(Encoding.PEM)
    with pytest.raises(KeyUnusable, match="cannot be read"):
        signing_key({"x509CertificateChain": chain}, pem, NOW)


def test_published_chain(vectors):
    keys = vectors / "openssf" / "keys"
    data = (vectors / "openssf" / "v1.1.0-certificate" / "model.sig").read_bytes()
    for authority in ("ca-cert.pem", "int-ca-cert.pem", "signing-key-cert.pem"):
        assert verify_bundle(data, [], authorities=(keys / authority).read_bytes(), moment=NOW).signers
    with pytest.raises(KeyExpired, match="2035"):
        verify_bundle(
            data,
            [],
            authorities=(keys / "ca-cert.pem").read_bytes(),
            moment=dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
        )
