"""`modelward keys`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, Unpack

import click

from modelward.cli.talking import passphrase_option, talk, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.verbs.keys import Owner, RingState

F = TypeVar("F", bound="Callable[..., Any]")

KINDS: Final = (  # as `modelward.verbs.keys.KINDS`, which `--help` does not import; a test compares them
    "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ml-dsa-65", "x25519", "mlkem768-x25519"
)  # fmt: skip
SIGNING: Final = "ecdsa-p256"
RECEIVING: Final = "mlkem768-x25519"


class Flags(TypedDict, total=False):
    """What click hands over; each command has some of these."""

    form: str
    passphrase_file: Path | None
    algorithm: str | None
    recipient: bool
    key: tuple[str, ...]
    owner: tuple[Path, ...]
    threshold: int
    owners_threshold: int | None
    expires: str | None
    name: str
    names: tuple[str, ...]
    purpose: str
    purposes: tuple[str, ...]
    valid_from: str | None
    valid_until: str | None
    reason: str
    since: str | None
    ml_dsa: bool
    old: str
    new: Path
    overlap: str


_format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output."
)
_EPILOG = """\b
Examples:
  modelward keys new release.pem
  modelward keys new reader.pem --recipient
  modelward keys show release.pem.pub
  modelward keys ring new ring.json --owner owner.pem.pub --key owner.pem
  modelward keys ring add ring.json release.pem.pub --name release --key owner.pem
  modelward keys rotate ring.json --old release --new next.pem.pub --overlap 30d --key owner.pem
  modelward keys ring revoke ring.json release --reason 'laptop stolen' --key owner.pem
"""
_RING_EPILOG = """\b
Examples:
  modelward keys ring new ring.json --owner a.pem.pub --owner b.pem.pub --threshold 2 --key a.pem
  modelward keys ring sign ring.json --key b.pem
  modelward keys ring policy ring.json --purpose seal --threshold 2 --name anna --name ben --key a.pem
  modelward keys ring revoke ring.json sha256:9f86... --reason 'trained on poisoned rows' --key a.pem
  modelward keys ring show ring.json --owner a.pem.pub --owner b.pem.pub --owners-threshold 2

A change that further owners must sign waits in RING.next; the version in force stays as it is until then.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Make keys, say what they are, and keep the keyring: who may sign, until when, and what is revoked.

    A KEY that signs is a PEM file, env:NAME (a variable that holds PEM), a pkcs11: URI, or
    vault:<mount>/<key> in HashiCorp Vault. A passphrase or PIN is never an argument.
    """


@command.command("new")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--algorithm", type=click.Choice(KINDS), help=f"Kind of key.  [default: {SIGNING}]")
@click.option("--recipient", is_flag=True, help=f"A key to open what is sealed for it.  [{RECEIVING}]")
@passphrase_option
@_format_option
def new(path: Path, **flags: Unpack[Flags]) -> int:
    """Make a pair of keys: PATH, encrypted, 0600, and PATH.pub. Nothing is written over.

    Example: modelward keys new release.pem --algorithm ed25519
    """
    from modelward.verbs.keys import new_key

    kind = flags["algorithm"] or (RECEIVING if flags["recipient"] else SIGNING)
    if flags["recipient"] and kind not in {"x25519", RECEIVING}:
        raise click.UsageError(f"--recipient is for x25519 and {RECEIVING}; {kind} signs")
    facts = new_key(path, kind, _passphrase(flags["passphrase_file"], "New passphrase", confirm=True))
    said = {"path": str(path), "public_path": f"{path}.pub"}
    if flags["form"] == "json":
        _print_json({"schema": "modelward.keys/1", **said, "key": _plain(facts)})
    else:
        click.echo(f"{facts.algorithm} key {facts.id}\nprivate, encrypted: {path}\npublic: {path}.pub")
    return 0


@command.command("show")
@click.argument("reference")
@passphrase_option
@_format_option
def show(reference: str, **flags: Unpack[Flags]) -> int:
    """Say what a key is: algorithm, id, public half. REFERENCE is a file, env:NAME, pkcs11: or vault:.

    Example: modelward keys show release.pem.pub
    """
    from modelward.verbs.keys import show_key

    facts = show_key(reference, _passphrase(flags["passphrase_file"], "Passphrase"), warn)
    if flags["form"] == "json":
        _print_json({"schema": "modelward.keys/1", "path": reference, "key": _plain(facts)})
    else:
        half = "private" if facts.private else "public"
        use = "signs" if facts.use == "sign" else "is a recipient's"
        click.echo(f"{facts.algorithm} key {facts.id} ({half}; it {use})\n{facts.public}", nl=False)
    return 0


@command.group("ring", epilog=_RING_EPILOG)
def ring() -> None:
    """Keep a keyring: one signed file that says who may sign what, until when, and what is revoked."""


_owner_argument = click.option(
    "--owner",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Public key (PEM) of an owner; may be repeated.",
)


def _owner_options(function: F) -> F:
    for option in (
        _format_option,
        passphrase_option,
        click.option("--key", multiple=True, required=True, help="An owner's private key; may be repeated."),
    ):
        function = option(function)
    return function


@ring.command("new")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@_owner_argument
@click.option("--threshold", default=1, show_default=True, help="How many owners sign each version.")
@click.option("--expires", help="Date by which a newer version must be there.")
@_owner_options
def ring_new(path: Path, **flags: Unpack[Flags]) -> int:
    """Begin a keyring.

    Example: modelward keys ring new ring.json --owner owner.pem.pub --key owner.pem
    """
    from modelward.verbs import keys

    new = keys.NewRing(owners=flags["owner"], threshold=flags["threshold"], expires=_moment(flags["expires"]))
    return _tell(keys.ring_new(path, new, _owner(flags)), flags["form"])


@ring.command("add")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("public", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", required=True, help="Whose key it is; keys of one name are one signer.")
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    default=("seal",),
    show_default=True,
    help="What it may sign: seal, evidence, scan, bom, provenance, release, or a word of your own.",
)
@click.option("--from", "valid_from", help="Its first day.  [default: now]")
@click.option("--until", "valid_until", help="Its end.  [default: none]")
@_owner_options
def ring_add(path: Path, public: Path, **flags: Unpack[Flags]) -> int:
    """Let the key in PUBLIC (PEM) sign.

    Example: modelward keys ring add ring.json anna.pem.pub --name anna --until 2027-12-31 --key owner.pem
    """
    from modelward.verbs import keys

    new = keys.NewKey(
        public=public,
        name=flags["name"],
        purposes=flags["purposes"],
        valid_from=_moment(flags["valid_from"]),
        valid_until=_moment(flags["valid_until"]),
    )
    return _tell(keys.ring_add(path, new, _owner(flags)), flags["form"])


@ring.command("revoke")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("what", metavar="KEY|ROOT|PATH")
@click.option("--reason", required=True, help="Why, for people.")
@click.option("--since", help="From when on it cannot be trusted.  [default: now]")
@_owner_options
def ring_revoke(path: Path, what: str, **flags: Unpack[Flags]) -> int:
    """Revoke a key (its id, 8 digits of it, or its name), a root (sha256:..., blake3:...), or a path.

    A PATH has a slash in it (./model): a file, a folder or a sealed folder, which is hashed, and from then on
    refused however it is signed.

    Example: modelward keys ring revoke ring.json models/v2 --reason 'poisoned rows' --key owner.pem
    """
    from modelward.verbs import keys

    since = _moment(flags["since"])
    with talk("revoke", flags["passphrase_file"]) as said:
        owner = keys.Owner(
            keys=flags["key"], passphrase=said.passphrase, warn=said.warn, progress=said.progress
        )
        state = keys.ring_revoke(path, what, flags["reason"], owner, since)
    return _tell(state, flags["form"])


@ring.command("policy")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--purpose", default="seal", show_default=True, help="What is signed.")
@click.option("--threshold", required=True, type=int, help="How many different names must sign.")
@click.option("--name", "names", multiple=True, required=True, help="Of whom; may be repeated.")
@click.option("--ml-dsa", is_flag=True, help="One of the signatures must be by ML-DSA-65.")
@_owner_options
def ring_policy(path: Path, **flags: Unpack[Flags]) -> int:
    """Say how many of whom must sign.

    Example: modelward keys ring policy ring.json --threshold 2 --name anna --name ben --key owner.pem
    """
    from modelward.vault.keys.keyring import Threshold
    from modelward.verbs import keys

    policy = Threshold(
        purpose=flags["purpose"], threshold=flags["threshold"], names=flags["names"], ml_dsa=flags["ml_dsa"]
    )
    return _tell(keys.ring_policy(path, policy, _owner(flags)), flags["form"])


@ring.command("owners")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@_owner_argument
@click.option("--threshold", default=1, show_default=True, help="How many of them sign each version.")
@_owner_options
def ring_owners(path: Path, **flags: Unpack[Flags]) -> int:
    """Change the owners; enough of the old and of the new ones must sign.

    Example: modelward keys ring owners ring.json --owner b.pem.pub --key a.pem --key b.pem
    """
    from modelward.verbs import keys

    new = keys.NewRing(owners=flags["owner"], threshold=flags["threshold"])
    return _tell(keys.ring_owners(path, new, _owner(flags)), flags["form"])


@ring.command("renew")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--expires", required=True, help="Date by which a newer version must be there.")
@_owner_options
def ring_renew(path: Path, **flags: Unpack[Flags]) -> int:
    """Say that nothing changed, and until when that may be believed.

    Example: modelward keys ring renew ring.json --expires 2027-01-31 --key owner.pem
    """
    from modelward.verbs import keys

    return _tell(keys.ring_renew(path, _moment(flags["expires"]), _owner(flags)), flags["form"])


@ring.command("sign")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@_owner_options
def ring_sign(path: Path, **flags: Unpack[Flags]) -> int:
    """Sign, as a further owner, what waits in RING.next, or the version in force.

    Example: modelward keys ring sign ring.json --key b.pem
    """
    from modelward.verbs import keys

    return _tell(keys.ring_sign(path, _owner(flags)), flags["form"])


@ring.command("show")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--owner", multiple=True, type=click.Path(path_type=Path), help="Public key of an owner you trust."
)
@click.option("--owners-threshold", type=int, help="How many of them must have signed.  [default: over half]")
@_format_option
def ring_show(path: Path, **flags: Unpack[Flags]) -> int:
    """Check a keyring's signatures and say what is in it; with --owner, that they stand behind it.

    What waits in RING.next for further owners is said too, as not in force.

    Example: modelward keys ring show ring.json --owner owner.pem.pub
    """
    from modelward.verbs import keys

    owners, least = flags["owner"], flags["owners_threshold"]
    if least is not None and not 1 <= least <= len(owners):
        raise click.UsageError("--owners-threshold is between 1 and the number of --owner")
    return _tell(keys.ring_show(path, owners, least, warn), flags["form"])


@command.command("rotate")
@click.argument("path", metavar="RING", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--old", required=True, help="The key that goes: its id, 8 digits of it, or its name.")
@click.option("--new", required=True, type=click.Path(path_type=Path), help="Public key (PEM) that comes.")
@click.option("--overlap", default="30d", show_default=True, help="How long both are valid: 12h, 30d, 4w.")
@click.option("--until", "valid_until", help="End of the new key.  [default: none]")
@_owner_options
def rotate(path: Path, **flags: Unpack[Flags]) -> int:
    """Let a new key take the place of an old one: same name, same purposes, both valid for a while.

    Example: modelward keys rotate ring.json --old release --new next.pem.pub --key owner.pem
    """
    from modelward.vault.attest.moments import parse_span
    from modelward.verbs import keys

    new = keys.NewKey(public=flags["new"], valid_until=_moment(flags["valid_until"]))
    state = keys.rotate(path, flags["old"], new, parse_span(flags["overlap"]), _owner(flags))
    return _tell(state, flags["form"])


def _passphrase(file: Path | None, words: str, *, confirm: bool = False) -> Callable[[], bytes] | None:
    from modelward.vault.keys.secrets import passphrase_from

    def ask() -> bytes:
        phrase: str = click.prompt(words, hide_input=True, confirmation_prompt=confirm, err=True)
        return phrase.encode()

    return passphrase_from(file, ask if sys.stdin.isatty() else None, warn)


def _owner(flags: Flags) -> Owner:
    from modelward.verbs.keys import Owner

    ask = _passphrase(flags["passphrase_file"], "Passphrase of the owner's key")
    return Owner(keys=flags["key"], passphrase=ask, warn=warn)


def _moment(text: str | None) -> Any:
    from modelward.verbs.keys import moment_of

    return None if text is None else moment_of(text)


def _tell(state: RingState, form: str) -> int:
    if form == "json":
        _print_json(state.report())
    else:
        from modelward.verbs.keys import describe_ring

        click.echo(describe_ring(state))
    return 0


def _plain(facts: object) -> Any:
    import msgspec

    return msgspec.to_builtins(facts)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
