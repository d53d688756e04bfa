"""`modelward amend`."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

import click

from modelward.cli.talking import passphrase_option, talk


class Flags(TypedDict):
    """What click hands over; empty where a flag was not given."""

    key: tuple[str, ...]
    attest_only: bool
    evidence: str | None
    scan: bool
    bom: Path | None
    provenance: Path | None
    release: Path | None
    source: Path | None
    identity: tuple[str, ...]
    recipient: tuple[str, ...]
    remove_recipient: tuple[str, ...]
    public_key: tuple[Path, ...]
    jobs: int
    passphrase_file: Path | None


_EPILOG = """\b
Examples:
  modelward amend model.sealed --key second.pem --public-key release.pem.pub
  modelward amend clear.sealed --key auditor.pem --attest-only --evidence .modelward --scan
  modelward amend model.sealed --identity me.pem --recipient new.pem.pub --remove-recipient 3f2a91c0
"""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog=_EPILOG)
@click.argument("sealed", type=click.Path(path_type=Path))
@click.option("--key", multiple=True, metavar="KEY", help="Private key that signs; may be given again.")
@click.option("--attest-only", is_flag=True, help="The keys sign what is attested, and not the seal.")
@click.option("--evidence", metavar="STORE", help="Store of audits: attest the newest of every sealed model.")
@click.option("--scan", is_flag=True, help="Attest what loading the files can do.")
@click.option("--bom", type=_FILE, help="Bill of materials to attest, as `modelward bom` writes it.")
@click.option("--provenance", type=_FILE, help="File that states where the model comes from.")
@click.option("--release", type=_FILE, help="File that states who may open it, where, and until when.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="The files in clear, to attest of them where the seal is encrypted.",
)
@click.option("--identity", multiple=True, metavar="KEY", help="Private key of a recipient.")
@click.option("--recipient", multiple=True, metavar="R", help="Who may open it from now on.")
@click.option("--remove-recipient", multiple=True, metavar="ID", help="Who opens it no longer.")
@click.option("--public-key", multiple=True, type=_FILE, metavar="PEM", help="A key that must have signed.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Threads.  [default: one per core]")
@passphrase_option
def command(sealed: Path, **flags: Unpack[Flags]) -> int:
    """Add signatures, attestations or recipients to SEALED, or take recipients away.

    What was sealed stays as it is, byte for byte, and so do the signatures over it: only small documents are
    written. Who opened a model before can keep it: taking a recipient away stops new openings alone.
    """
    from modelward.reporting.text import clean
    from modelward.verbs.amend import AmendOptions, amend
    from modelward.verbs.gathering import Attesting
    from modelward.verbs.trust import TrustOptions

    options = AmendOptions(
        keys=flags["key"],
        sign=not flags["attest_only"],
        attesting=Attesting(
            evidence=flags["evidence"],
            scan=flags["scan"],
            bom=flags["bom"] or False,
            provenance=flags["provenance"],
            release=flags["release"],
        ),
        source=flags["source"],
        identities=flags["identity"],
        recipients=flags["recipient"],
        remove=flags["remove_recipient"],
        trust=TrustOptions(public_keys=flags["public_key"]) if flags["public_key"] else None,
        jobs=flags["jobs"],
    )
    with talk("amend", flags["passphrase_file"]) as talking:
        root = amend(sealed, options, talking)
    click.echo(clean(f"amended: {sealed}"), err=True)
    click.echo(root)
    return 0
