"""Recipients come and go by one small file; signatures are added by another."""

from __future__ import annotations

import os

import pytest

from modelward.errors import ContentChanged, KeyUnusable, RecipientWrong, SealDamaged
from modelward.vault.container import layout
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients.passphrase import Passphrase
from modelward.vault.container.rotation import cosign, rewrap
from modelward.vault.hazmat.passphrase import Costs

COSTS = Costs(memory=3 * 65536, passes=1, lanes=2)


def named(person):
    """Whether a part of the header is for somebody."""
    master, container_id = bytes(32), bytes(16)
    key = person.recipient.wrap(master, container_id)["key"]
    return lambda stanza: stanza.get("key") == key


def opens(where, person):
    try:
        return len(Container.open(where).unlock([person.identity]).paths) > 0
    except RecipientWrong:
        return False


def test_a_recipient_is_added_and_nothing_else_is_written(sealed, content, vendor, licensee, stranger):
    where = sealed()
    before = content(where)
    header = rewrap(Container.open(where), [licensee.identity], add=[stranger.recipient])
    after = content(where)
    assert {name for name in before if before[name] != after[name]} == {"seal.json"}
    assert set(before) == set(after)
    assert len(header.recipients) == 3
    assert opens(where, stranger)
    assert opens(where, licensee)
    Container.open(where).verify([vendor.public])


def test_a_recipient_is_taken_away(sealed, licensee, other, vendor):
    where = sealed()
    old = (where / "seal.json").read_bytes()
    rewrap(Container.open(where), [licensee.identity], remove=named(other))
    assert not opens(where, other)
    assert opens(where, licensee)
    Container.open(where).verify([vendor.public])
    (where / "seal.json").write_bytes(
        old
    )  # the master key stays: an old header still opens, as the document says
    assert opens(where, other)


def test_who_signs_is_told_how_far_the_hashing_is(sealed, vendor):
    where, told = sealed(), []
    cosign(Container.open(where), [vendor], name="m", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (told[-1][1], Container.open(where).index.length)


def test_one_is_exchanged_for_another(sealed, licensee, other, stranger):
    where = sealed()
    rewrap(Container.open(where), [other.identity], add=[stranger.recipient], remove=named(licensee))
    assert [opens(where, person) for person in (licensee, other, stranger)] == [False, True, True]
    rewrap(Container.open(where), [stranger.identity], remove=named(other))
    assert [opens(where, person) for person in (licensee, other, stranger)] == [False, False, True]


def test_a_passphrase_opens_it_too(sealed, licensee):
    where = sealed()
    phrase = Passphrase(b"correct horse battery staple", COSTS)
    rewrap(Container.open(where), [licensee.identity], add=[phrase])
    assert Container.open(where).unlock([phrase]).paths


def test_who_cannot_open_it_cannot_change_it(sealed, stranger, content):
    where = sealed()
    before = content(where)
    for identities in ([stranger.identity], []):
        with pytest.raises(RecipientWrong):
            rewrap(Container.open(where), identities, add=[stranger.recipient])
    plain = sealed(name="plain.sealed", recipients=())
    with pytest.raises(RecipientWrong, match="nothing is encrypted"):
        rewrap(Container.open(plain), [stranger.identity], add=[stranger.recipient])
    assert content(where) == before


def test_somebody_must_be_left(sealed, licensee, content):
    where = sealed()
    before = content(where)
    with pytest.raises(KeyUnusable, match="there would be 0 recipients"):
        rewrap(Container.open(where), [licensee.identity], remove=lambda stanza: True)
    with pytest.raises(KeyUnusable, match="257 recipients"):
        rewrap(Container.open(where), [licensee.identity], add=[licensee.recipient] * 255)
    assert content(where) == before


def test_an_altered_header_is_not_written_again(sealed, licensee, stranger):
    """A rotation must not make a forged list of recipients true."""
    where = sealed()
    data = (where / "seal.json").read_bytes()
    forged = stranger.recipient.wrap(os.urandom(32), Container.open(where).header.id)
    header = layout.parse_header(data)
    text = data.replace(b'"recipients":[', b'"recipients":[' + layout.canonical(forged) + b",")
    (where / "seal.json").write_bytes(text)
    assert len(layout.parse_header(text).recipients) == len(header.recipients) + 1
    with pytest.raises(SealDamaged, match="not those that were written"):
        rewrap(Container.open(where), [licensee.identity], add=[stranger.recipient])


def test_the_files_permissions_stay(sealed, licensee, stranger):
    where = sealed()
    (where / "seal.json").chmod(0o640)
    rewrap(Container.open(where), [licensee.identity], add=[stranger.recipient])
    assert (where / "seal.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_second_signer_signs_later(sealed, vendor, cosigner, encrypted):
    where = sealed(**({} if encrypted else {"recipients": ()}))
    path = cosign(Container.open(where), [cosigner], name="m")
    assert path.name == "00000001.json"
    verified = Container.open(where).verify([vendor.public, cosigner.public], 2)
    assert set(verified.signers) == {vendor.public.key_id, cosigner.public.key_id}


def test_an_unsigned_container_is_signed_later(sealed, vendor):
    where = sealed(signers=())
    (where / "signatures").rmdir()
    cosign(Container.open(where), [vendor], name="m")
    Container.open(where).verify([vendor.public])


def test_nobody_signs_what_is_not_there(sealed, cosigner):
    where = sealed()
    container = Container.open(where)
    (where / "data/00000000").write_bytes(b"other")
    with pytest.raises(ContentChanged, match="data/00000000: altered"):
        cosign(container, [cosigner], name="m")
    assert len(list((where / "signatures").iterdir())) == 1


def test_signatures_are_not_without_end(sealed, cosigner):
    where = sealed()
    for number in range(1, 64):
        (where / "signatures" / f"{number:08d}.json").write_bytes(b"")
    with pytest.raises(SealDamaged, match="64 signatures already"):
        cosign(Container.open(where), [cosigner], name="m")
