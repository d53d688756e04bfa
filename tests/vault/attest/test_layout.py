"""in-toto's own verification accepts what is written, and refuses what was altered."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from modelward.errors import KeyUnusable, PolicyInvalid
from modelward.vault import dsse
from modelward.vault.attest.layout import (
    HEAD,
    LAYOUT_FILE,
    ROOT,
    Functionaries,
    Link,
    _public,
    links_of,
    sign_layout,
    sign_link,
)
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner

verifylib = pytest.importorskip("in_toto.verifylib")
metadata = pytest.importorskip("in_toto.models.metadata")
exceptions = pytest.importorskip("in_toto.exceptions")

SOON = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def audit(evidence):
    return evidence()


@pytest.fixture(scope="module")
def files(model_digest):
    return {"model.onnx": model_digest, "docs/READ[ME]*.md": "sha256:" + "11" * 32}


@pytest.fixture
def chain(*, tmp_path, signers, files, root, provenance, audit):
    """Writes layout and links; `bend` alters links before they are signed. Gives back the folder."""
    owner, trainer, sealer = signers

    def chain(*, trained=True, audited=True, bend=None, who=None, expires=SOON, threshold=1):
        links = links_of(
            files, root, provenance=provenance if trained else None, audits=[audit] if audited else []
        )
        keys = {"train": (trainer,), "audit": (owner,), "seal": (sealer,)} | (who or {})
        roles = {
            step: Functionaries(keys=tuple(key.public for key in given), threshold=threshold)
            for step, given in keys.items()
        }
        layout = sign_layout(links, roles, expires=expires, signers=[owner])
        (tmp_path / LAYOUT_FILE).write_bytes(layout)
        for link in links:
            for key in keys[link.step]:
                name, data = sign_link(bend(link) if bend else link, key)
                (tmp_path / name).write_bytes(data)
        return tmp_path

    return chain


@pytest.fixture
def accepted(signers, monkeypatch):
    """What in-toto says of a folder; it raises where it refuses."""

    def accepted(folder, keys=None):
        monkeypatch.chdir(folder)
        layout = metadata.Metadata.load(str(folder / LAYOUT_FILE))
        known = [_public(key.public) for key in keys or signers[:1]]
        verifylib.in_toto_verify(layout, {key["keyid"]: key for key in known}, str(folder))
        return True

    return accepted


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("audited", [True, False])
def test_what_is_written_is_accepted(chain, accepted, trained, audited):
    folder = chain(trained=trained, audited=audited)
    assert len(list(folder.glob("*.link"))) == 1 + trained + audited
    assert accepted(folder)


def test_the_steps_and_their_files(files, root, provenance, audit, model_digest):
    train, audited, seal = links_of(files, root, provenance=provenance, audits=[audit])
    assert [train.step, audited.step, seal.step] == ["train", "audit", "seal"]
    assert train.materials == {
        "code": {"gitCommit": "c0" * 20}, "data/train.parquet": {"sha256": "d1" * 32}
    }  # fmt: skip
    assert train.products == {
        path: {"sha256": digest.removeprefix("sha256:")} for path, digest in files.items()
    }
    assert audited.materials == {"model.onnx": {"sha256": model_digest.removeprefix("sha256:")}}
    assert audited.products == {HEAD: {"sha256": audit.ledger.head}}
    assert seal.materials == {**train.products, **audited.products}
    assert seal.products == {ROOT: {"sha256": "5e" * 32}}


def test_a_root_of_blake3_is_a_product_too(files):
    (seal,) = links_of(files, "blake3:" + "77" * 32)
    assert seal.products == {ROOT: {"blake3": "77" * 32}}


def bend(step, field, name, digest):
    """Alters one file of one step before it is signed."""

    def bend(link):
        if link.step != step:
            return link
        artifacts = dict(getattr(link, field))
        if digest is None:
            artifacts.pop(name)
        else:
            artifacts[name] = {"sha256": digest}
        return msgspec.structs.replace(link, **{field: artifacts})

    return bend


BENT = {
    "another model was audited": ("audit", "materials", "model.onnx", "00" * 32),
    "another model was sealed": ("seal", "materials", "model.onnx", "00" * 32),
    "another model was trained": ("train", "products", "model.onnx", "00" * 32),
    "another ledger was sealed": ("seal", "materials", HEAD, "00" * 32),
    "another ledger was written": ("audit", "products", HEAD, "00" * 32),
    "nothing was audited": ("audit", "materials", "model.onnx", None),
    "no ledger was written": ("audit", "products", HEAD, None),
    "nothing of training was sealed": ("seal", "materials", "model.onnx", None),
    "a file was added": ("seal", "materials", "extra.bin", "11" * 32),
    "a file came from nowhere": ("train", "products", "extra.bin", "11" * 32),
    "data came from nowhere": ("train", "materials", "data/more.csv", "11" * 32),
    "the code is not named": ("train", "materials", "code", None),
    "no root was made": ("seal", "products", ROOT, None),
}


@pytest.mark.parametrize("name", BENT)
def test_steps_that_do_not_follow_from_one_another_are_refused(name, chain, accepted):
    """Each link is signed by the right key; what they say together does not hold."""
    folder = chain(bend=bend(*BENT[name]))
    with pytest.raises(exceptions.RuleVerificationError):
        accepted(folder)


@pytest.mark.parametrize(
    "name",
    ["another model was audited", "another model was sealed", "nothing was audited", "a file was added"],
)
def test_without_training_the_audit_and_the_seal_are_still_held_together(name, chain, accepted):
    folder = chain(trained=False, bend=bend(*BENT[name]))
    with pytest.raises(exceptions.RuleVerificationError):
        accepted(folder)


@pytest.mark.parametrize("step", ["train", "audit", "seal"])
def test_a_link_that_is_altered_after_it_was_signed_is_refused(step, chain, accepted):
    folder = chain()
    (path,) = folder.glob(f"{step}.*.link")
    envelope = json.loads(path.read_bytes())
    payload = dsse.decode64(envelope["payload"])
    assert b'"environment":{}' in payload
    altered = payload.replace(b'"environment":{}', b'"environment":{"a":"b"}')
    forged = dsse.Envelope(
        payload=altered, payload_type=dsse.IN_TOTO, signatures=dsse.from_json(envelope).signatures
    )
    path.write_text(json.dumps(dsse.to_json(forged)))
    with pytest.raises(exceptions.ThresholdVerificationError):
        accepted(folder)


@pytest.mark.parametrize("step", ["train", "audit", "seal"])
def test_a_link_that_is_missing_is_missed(step, chain, accepted):
    folder = chain()
    (path,) = folder.glob(f"{step}.*.link")
    path.unlink()
    with pytest.raises(exceptions.LinkNotFoundError):
        accepted(folder)


def test_a_layout_that_is_altered_or_by_another_owner_is_refused(chain, accepted, signers):
    folder = chain()
    with pytest.raises(exceptions.SignatureVerificationError):
        accepted(folder, keys=signers[1:2])
    path = folder / LAYOUT_FILE
    envelope = json.loads(path.read_bytes())
    altered = dsse.decode64(envelope["payload"]).replace(b'"threshold":1', b'"threshold":0')
    forged = dsse.Envelope(
        payload=altered, payload_type=dsse.IN_TOTO, signatures=dsse.from_json(envelope).signatures
    )
    path.write_text(json.dumps(dsse.to_json(forged)))
    with pytest.raises(exceptions.SignatureVerificationError):
        accepted(folder)


def test_a_layout_expires(chain, accepted):
    folder = chain(expires=datetime.now(UTC) - timedelta(seconds=2))
    with pytest.raises(exceptions.LayoutExpiredError):
        accepted(folder)


def test_a_step_by_somebody_who_may_not_is_refused(chain, accepted, signers):
    folder = chain()
    (path,) = folder.glob("seal.*.link")
    link = Link(step="seal", materials={}, products={})
    _, data = sign_link(link, signers[0])
    path.write_bytes(data)  # under the name of the key that may
    with pytest.raises(exceptions.ThresholdVerificationError):
        accepted(folder)


def test_two_must_say_the_same(chain, accepted, signers):
    who = {step: tuple(signers[:2]) for step in ("train", "audit", "seal")}
    folder = chain(who=who, threshold=2)
    assert accepted(folder)
    (path,) = folder.glob(f"seal.{signers[1].public.key_id[:8]}.link")
    path.unlink()
    with pytest.raises((exceptions.ThresholdVerificationError, exceptions.LinkNotFoundError)):
        accepted(folder)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_keys_of_the_nist_curves_are_known_to_in_toto(curve, chain, accepted):
    key = LocalSigner(ec.generate_private_key(curve))
    assert accepted(chain(who={"seal": (key,)}))


def test_keys_that_in_toto_does_not_know_are_refused_before_anything_is_signed(files, root, signers):
    strange = LocalSigner(asymmetric.generate("ml-dsa-65"))
    links = links_of(files, root)
    with pytest.raises(KeyUnusable, match="ml-dsa-65"):
        sign_link(links[0], strange)
    with pytest.raises(KeyUnusable, match="ml-dsa-65"):
        sign_layout(links, {"seal": Functionaries(keys=(strange.public,))}, expires=SOON, signers=signers)
    with pytest.raises(KeyUnusable, match="ml-dsa-65"):
        sign_layout(
            links, {"seal": Functionaries(keys=(signers[0].public,))}, expires=SOON, signers=[strange]
        )


@pytest.mark.parametrize("threshold", [0, 2, -1])
def test_a_step_needs_as_many_keys_as_it_asks_for(threshold, files, root, signers):
    roles = {"seal": Functionaries(keys=(signers[0].public, signers[0].public), threshold=threshold)}
    with pytest.raises(PolicyInvalid, match=f"asks {threshold} of 1 keys"):
        sign_layout(links_of(files, root), roles, expires=SOON, signers=signers)
    with pytest.raises(PolicyInvalid, match="asks 1 of 0 keys"):
        sign_layout(links_of(files, root), {}, expires=SOON, signers=signers)


def test_the_layout_names_keys_and_no_digest(files, root, signers, model_digest):
    roles = {"seal": Functionaries(keys=(signers[1].public,))}
    data = sign_layout(links_of(files, root), roles, expires=SOON, signers=signers[:1])
    layout = json.loads(dsse.from_json(json.loads(data)).payload)
    assert list(layout["keys"]) == [signers[1].public.key_id]
    assert layout["inspect"] == []  # nothing is run where it is verified
    assert model_digest.removeprefix("sha256:") not in json.dumps(layout)
    assert layout["expires"] == SOON.strftime("%Y-%m-%dT%H:%M:%SZ")
