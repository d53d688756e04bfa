"""`modelward seal`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from modelward.cli.talking import passphrase_option, talk

if TYPE_CHECKING:
    from modelward.verbs.sign import HashName, StatementKind


class Flags(TypedDict):
    """What click hands over; empty where a flag was not given."""

    output: Path
    key: tuple[str, ...]
    recipient: tuple[str, ...]
    evidence: str | None
    no_scan: bool
    bom: Path | None
    provenance: Path | None
    release: Path | None
    policy: Path | None
    name: str
    hash_name: HashName | None
    signature_only: bool
    statement: StatementKind
    shards: bool
    oci: Path | None
    in_toto: Path | None
    exclude: tuple[Path, ...]
    links: bool
    replace: bool
    paranoid: bool
    jobs: int
    passphrase_file: Path | None


_EPILOG = """\b
Examples:
  modelward seal model/ -o model.sealed --key release.pem --recipient hospital.pem.pub
  modelward seal model.onnx -o model.sealed --key release.pem --evidence .modelward --policy policy.toml
  modelward seal model/ -o model.sig --signature-only --key release.pem
  modelward seal model/ -o model.sig --signature-only --statement tree --hash blake3 --key release.pem
  modelward seal train.parquet -o train.sig --signature-only --statement rows --key data.pem
\b
Keys: a PEM file, env:NAME, a pkcs11: URI, vault:MOUNT/KEY. Recipients: a public PEM file, age1...,
vault:MOUNT/KEY, passphrase:env:NAME, passphrase:file:PATH, passphrase (asked). `modelward keys` makes
both; docs/keys.md says where they may lie.
"""
_FILE = click.Path(path_type=Path, dir_okay=False)
_PATH = click.Path(path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("path", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, help="The sealed folder, or the signature's file.")
@click.option("--key", multiple=True, metavar="KEY", help="Private key that signs; may be given again.")
@click.option("--recipient", multiple=True, metavar="R", help="Who may open it; nobody: it is not encrypted.")
@click.option("--evidence", metavar="STORE", help="Store of audits: attest the newest of every sealed model.")
@click.option("--no-scan", is_flag=True, help="Do not attest what loading the files can do.")
@click.option("--bom", type=_FILE, help="Bill of materials to attest, as `modelward bom` writes it.")
@click.option("--provenance", type=_FILE, help="File that states where the model comes from.")
@click.option("--release", type=_FILE, help="File that states who may open it, where, and until when.")
@click.option("--policy", type=_FILE, help="Seal only what this policy of `modelward verify` would admit.")
@click.option("--name", default="", help="Name that the signature states.  [default: the output's]")
@click.option(
    "--hash",
    "hash_name",
    type=click.Choice(["sha256", "blake3", "blake2b"]),
    help="Hash function.  [default: blake3; of a signature: sha256]",
)
@click.option(
    "--signature-only", is_flag=True, help="Write a detached signature; the files stay as they are."
)
@click.option(
    "--statement",
    type=click.Choice(["openssf", "tree", "rows"]),
    default="openssf",
    show_default=True,
    help="What a detached signature says: OpenSSF Model Signing v1; a Merkle root that binds names; the rows "
    "of a table.",
)
@click.option("--shards", is_flag=True, help="OpenSSF digests of shards of 1 GB.")
@click.option("--oci", type=_PATH, metavar="DIR", help="Write the sealed folder as an OCI layout as well.")
@click.option("--in-toto", type=_PATH, metavar="DIR", help="Write the steps as an in-toto layout as well.")
@click.option("--exclude", multiple=True, type=_PATH, help="Leave out.")
@click.option("--links", is_flag=True, help="Follow symbolic links that stay inside.")
@click.option("--replace", is_flag=True, help="Exchange a seal that is there already for the new one.")
@click.option("--paranoid", is_flag=True, help="Hash again what a cache says is unchanged.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Threads.  [default: one per core]")
@passphrase_option
def command(path: Path, **flags: Unpack[Flags]) -> int:
    """Seal PATH: a model or data set that anyone can verify and its recipients alone can open.

    The sealed folder carries signatures over what is stored, and attestations: the audit's evidence, what
    loading can do, where it comes from, who may use it. It is there whole or not at all.
    """
    if flags["signature_only"]:
        return _sign(path, flags)
    _refuse(flags, "shards", "paranoid")
    if flags["statement"] != "openssf":
        raise click.UsageError("--statement goes with --signature-only")
    return _seal(path, flags)


def _sign(path: Path, flags: Flags) -> int:
    from modelward.reporting.text import clean
    from modelward.verbs.sign import SignOptions, sign

    attested = ("evidence", "no_scan", "bom", "provenance", "release", "policy")
    _refuse(flags, "recipient", "name", "oci", "in_toto", "replace", *attested)
    options = SignOptions(
        statement=flags["statement"],
        hash=flags["hash_name"] or "sha256",
        shards=flags["shards"],
        excluded=flags["exclude"],
        links=flags["links"],
        jobs=flags["jobs"],
        paranoid=flags["paranoid"],
    )
    with talk("sign", flags["passphrase_file"]) as talking:
        sign(path, flags["key"], flags["output"], options, talking)
    click.echo(clean(f"signed: {flags['output']}"), err=True)
    return 0


def _seal(path: Path, flags: Flags) -> int:
    from modelward.reporting.text import clean, plural
    from modelward.verbs.seal import SealOptions, seal

    if flags["hash_name"] == "blake2b":
        raise click.UsageError("--hash blake2b goes with --signature-only")
    options = SealOptions(
        keys=flags["key"],
        recipients=flags["recipient"],
        evidence=flags["evidence"],
        scan=not flags["no_scan"],
        bom=flags["bom"] or False,
        provenance=flags["provenance"],
        release=flags["release"],
        policy=flags["policy"],
        name=flags["name"],
        hash=flags["hash_name"] or "blake3",
        excluded=flags["exclude"],
        links=flags["links"],
        replace=flags["replace"],
        jobs=flags["jobs"],
        oci=flags["oci"],
        in_toto=flags["in_toto"],
    )
    with talk("seal", flags["passphrase_file"]) as talking:
        info = seal(path, flags["output"], options, talking)
    recipients = len(info.header.recipients)
    whom = f"encrypted for {plural(recipients, 'recipient')}" if recipients else "not encrypted"
    files = plural(len(info.content.entries), "file")
    click.echo(clean(f"sealed: {info.path}, {files}, {info.content.length:,} bytes, {whom}"), err=True)
    click.echo(info.stored.root)
    return 0


def _refuse(flags: Flags, *names: str) -> None:
    """Flags that would be passed over in silence."""
    given = [name for name in names if flags.get(name)]
    if given:
        way = "without" if flags["signature_only"] else "with"
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes {way} --signature-only")
