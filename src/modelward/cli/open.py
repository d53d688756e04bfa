"""`modelward open`."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from modelward.cli.talking import passphrase_option, talk
from modelward.cli.verify import TrustFlags, trust_of, trust_options


class Flags(TrustFlags):
    """What click hands over; empty where a flag was not given."""

    output: Path
    identity: tuple[str, ...]
    policy: Path | None
    jobs: int
    record: str | None
    passphrase_file: Path | None


_EPILOG = """\b
Examples:
  modelward open model.sealed -o model --identity hospital.pem --public-key release.pem.pub
  modelward open model.sealed -o model --identity passphrase --keyring ring.json --owner owner.pem.pub
"""


@click.command(epilog=_EPILOG)
@click.argument("sealed", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder that does not exist yet."
)
@click.option(
    "--identity",
    multiple=True,
    metavar="KEY",
    help="Private key of a recipient: a PEM file, env:NAME, an age identity, vault:MOUNT/KEY, passphrase.",
)
@trust_options
@click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), help="What must be attested.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Threads.  [default: one per core]")
@click.option("--record", metavar="STORE", help="Ledger that the outcome is appended to.")
@passphrase_option
def command(sealed: Path, **flags: Unpack[Flags]) -> int:
    """Verify who sealed SEALED and write what was sealed into a folder, for its owner alone.

    Nothing is written unless the signatures hold; the folder is there whole or not at all. Reading it without
    writing is `modelward.open_sealed` in Python.
    """
    from modelward.reporting.text import clean
    from modelward.verbs.unseal import OpenOptions, unseal

    options = OpenOptions(
        identities=flags["identity"],
        trust=trust_of(flags),
        policy=flags["policy"],
        jobs=flags["jobs"],
        record=flags["record"],
    )
    with talk("open", flags["passphrase_file"]) as talking:
        found = unseal(sealed, flags["output"], options, talking)
    signers = ", ".join(signer.name or signer.key_id[:16] for signer in found.signers)
    click.echo(clean(f"opened: {flags['output']}, signed by {signers}"), err=True)
    return 0
