"""The steps from training to the seal as an in-toto layout with link metadata, for in-toto's own tools.

Source: in-toto specification v1.0 (layout, link, artifact rules), each signed in a DSSE envelope. The layout
says which steps there are, whose keys may do them and how their files follow from each other; a link per step
says which files went in and came out. `in-toto-verify` compares them without knowing modelward.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON, canonical
from modelward.errors import KeyUnusable, PolicyInvalid
from modelward.vault import dsse
from modelward.vault.keys.signer import Verifier  # msgspec reads annotations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from modelward.vault.attest.audited import AuditEvidence
    from modelward.vault.attest.provenance import Provenance
    from modelward.vault.keys.signer import Signer

StepName: TypeAlias = Literal["train", "audit", "seal"]
Artifacts: TypeAlias = dict[str, dict[str, str]]

LAYOUT_FILE: Final = "root.layout"
HEAD: Final = "ledger-head"
ROOT: Final = "sealed-root"

_SCHEMES: Final = {
    "ecdsa-p256": "ecdsa-sha2-nistp256",
    "ecdsa-p384": "ecdsa-sha2-nistp384",
    "ecdsa-p521": "ecdsa-sha2-nistp521",
    "ed25519": "ed25519",
}


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What one step took and made.

    Attributes:
        step: which.
        materials: name to digests (algorithm to hexadecimal) of what went in.
        products: likewise of what came out.
    """

    step: StepName
    materials: Artifacts
    products: Artifacts


class Functionaries(msgspec.Struct, frozen=True, kw_only=True):
    """Whose keys may do a step, and how many of them must say the same."""

    keys: tuple[Verifier, ...]
    threshold: int = 1


def links_of(
    files: Mapping[str, str],
    root: str,
    *,
    provenance: Provenance | None = None,
    audits: Sequence[AuditEvidence] = (),
) -> tuple[Link, ...]:
    """The steps as far as they are known; the seal is the last.

    Args:
        files: path to ``sha256:<hex>`` of every sealed file.
        root: of the sealed tree.
        provenance: how it was trained; null: there is no step ``train``.
        audits: of files among them, of one ledger; none: there is no step ``audit``.
    """
    sealed = {path: _digest(digest) for path, digest in files.items()}
    heads: Artifacts = {}
    links: list[Link] = []
    if provenance is not None:
        links.append(Link(step="train", materials=_inputs(provenance), products=sealed))
    if audits:
        newest = max(audits, key=lambda audit: audit.ledger.size)
        heads = {HEAD: {"sha256": newest.ledger.head}}
        audited = {audit.model.path for audit in audits}
        taken = {path: digest for path, digest in sealed.items() if path in audited}
        links.append(Link(step="audit", materials=taken, products=heads))
    links.append(Link(step="seal", materials={**sealed, **heads}, products={ROOT: _digest(root)}))
    return tuple(links)


def sign_link(link: Link, signer: Signer) -> tuple[str, bytes]:
    """Sign what a step did.

    Returns:
        The name that in-toto's tools look for, and the file.

    Raises:
        KeyUnusable: in-toto's tools know no such signatures.
        KeyServiceFailed: the key's token or server does not sign.
    """
    key_id = str(_public(signer.public)["keyid"])
    content: dict[str, JSON] = {
        "_type": "link",
        "name": link.step,
        "materials": _plain(link.materials),
        "products": _plain(link.products),
        "byproducts": {},
        "command": [],
        "environment": {},
    }
    return f"{link.step}.{key_id[:8]}.link", _envelope(content, [signer])


def sign_layout(
    links: Sequence[Link],
    functionaries: Mapping[StepName, Functionaries],
    *,
    expires: datetime,
    signers: Sequence[Signer],
) -> bytes:
    """Sign which steps there are, who does them and how they hang together.

    Args:
        links: of every step, in order; their names alone go into the layout, and no digest.
        functionaries: of every step.
        expires: when the layout stops being valid, with a zone.
        signers: owners of the layout; verification names their keys.

    Raises:
        PolicyInvalid: a step has no functionary, or fewer than its threshold.
        KeyUnusable: in-toto's tools know no signatures of one of the keys.
        KeyServiceFailed: a key's token or server does not sign.
    """
    known = {link.step: link for link in links}
    keys: dict[str, JSON] = {}
    steps: list[JSON] = []
    for link in links:
        who = functionaries.get(link.step, Functionaries(keys=()))
        ids = list(dict.fromkeys(key.key_id for key in who.keys))
        if not 1 <= who.threshold <= len(ids):
            raise PolicyInvalid(f"the step {link.step} asks {who.threshold} of {len(ids)} keys")
        keys |= {key.key_id: _public(key) for key in who.keys}
        materials, products = _rules(link, known)
        steps.append(
            {
                "_type": "step",
                "name": link.step,
                "expected_materials": materials,
                "expected_products": products,
                "pubkeys": [*ids],
                "expected_command": [],
                "threshold": who.threshold,
            }
        )
    for signer in signers:
        _public(signer.public)
    content: dict[str, JSON] = {
        "_type": "layout",
        "steps": steps,
        "inspect": [],
        "keys": keys,
        "expires": expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "readme": "From training to the sealed model, as modelward recorded it.",
    }
    return _envelope(content, signers)


def _rules(link: Link, known: Mapping[StepName, Link]) -> tuple[list[JSON], list[JSON]]:
    """Artifact rules: what comes from an earlier step must be what it left; nothing else may be there."""
    exact = ["DISALLOW", "*"]
    made: list[JSON] = [*_named(link.products), [*exact]]
    if link.step == "train":
        return [*_named(link.materials), [*exact]], made
    taken: list[JSON] = []
    if "audit" in known and link.step == "seal":
        taken += [["REQUIRE", HEAD], ["MATCH", HEAD, "WITH", "PRODUCTS", "FROM", "audit"]]
    if "train" in known:
        taken += [["REQUIRE", name] for name in link.materials if name != HEAD]
        taken.append(["MATCH", "*", "WITH", "PRODUCTS", "FROM", "train"])
    elif link.step == "seal":
        audited = known["audit"].materials if "audit" in known else {}
        for name in audited:  # what was audited must be what is sealed
            taken += [["REQUIRE", name], ["MATCH", _pattern(name), "WITH", "MATERIALS", "FROM", "audit"]]
        taken += _named({name: {} for name in link.materials if name not in audited and name != HEAD})
    else:
        taken += _named(link.materials)
    return [*taken, [*exact]], made


def _named(artifacts: Artifacts) -> list[JSON]:
    required: list[JSON] = [["REQUIRE", name] for name in artifacts]
    return required + [["ALLOW", _pattern(name)] for name in artifacts]


def _pattern(name: str) -> str:
    """A pattern that fits this name alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _inputs(provenance: Provenance) -> Artifacts:
    inputs: Artifacts = {}
    if provenance.code is not None:
        kind = "gitCommit" if len(provenance.code.commit) == 40 else "sha256"
        inputs["code"] = {kind: provenance.code.commit}
    for source in provenance.data:
        inputs[f"data/{source.name}"] = dict(source.digest)
    return inputs


def _digest(text: str) -> dict[str, str]:
    algorithm, _, digest = text.partition(":")
    return {algorithm: digest}


def _plain(artifacts: Artifacts) -> JSON:
    return {name: dict(digest) for name, digest in artifacts.items()}


def _public(key: Verifier) -> dict[str, JSON]:
    """A public key as securesystemslib writes it."""
    scheme = _SCHEMES.get(key.algorithm)
    if scheme is None:
        raise KeyUnusable(
            f"in-toto's tools verify no signatures by {key.algorithm}",
            advice=f"Sign layouts and links with a key for {', '.join(_SCHEMES)}.",
        )
    public = key.pem.decode()
    if key.algorithm == "ed25519":  # RFC 8410: the key is the last 32 bytes of its DER
        public = base64.b64decode("".join(public.splitlines()[1:-1]))[-32:].hex()
    kind = "ed25519" if key.algorithm == "ed25519" else "ecdsa"
    return {"keyid": key.key_id, "keytype": kind, "scheme": scheme, "keyval": {"public": public}}


def _envelope(content: dict[str, JSON], signers: Sequence[Signer]) -> bytes:
    envelope = dsse.sign(canonical(content), signers)
    return json.dumps(dsse.to_json(envelope), indent=1).encode() + b"\n"
