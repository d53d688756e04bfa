"""`modelward verify`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from modelward.cli.talking import talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.verbs.trust import TrustOptions


class TrustFlags(TypedDict):
    """Whose signatures count."""

    public_key: tuple[Path, ...]
    keyring: Path | None
    owner: tuple[Path, ...]
    owners_threshold: int | None
    threshold: int
    post_quantum: bool
    authorities: Path | None
    signer_identity: str
    signer_issuer: str
    moment: datetime | None


class Flags(TrustFlags):
    """What click hands over; empty where a flag was not given."""

    signature: Path | None
    policy: Path | None
    attestations: Path | None
    partial: bool
    ignore_unsigned: bool
    against: Path | None
    exclude: tuple[Path, ...]
    links: bool
    jobs: int
    record: str | None
    form: str
    output: Path | None


_EPILOG = """\b
Examples:
  modelward verify model.sealed --public-key release.pem.pub
  modelward verify model.sealed --keyring ring.json --owner owner.pem.pub --policy policy.toml
  modelward verify model/ --signature model.sig --public-key release.pem.pub
  modelward verify model/ --signature model.sig --public-key release.pem.pub --partial --format json
  modelward verify train.parquet --signature train.sig --public-key data.pem.pub
"""
_FILE = click.Path(path_type=Path, dir_okay=False)
_PATH = click.Path(path_type=Path)


def _moment(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value[:40]!r} is no date; write 2026-11-21 or 2026-11-21T12:00:00Z."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_TRUST = (
    click.option(
        "--public-key", multiple=True, type=_FILE, metavar="PEM", help="A key whose signature counts."
    ),
    click.option("--keyring", type=_FILE, help="Keys that may sign, and what was revoked."),
    click.option("--owner", multiple=True, type=_FILE, metavar="PEM", help="A key that signs the keyring."),
    click.option(
        "--owners-threshold",
        type=click.IntRange(1),
        metavar="N",
        help="How many owners must have signed the keyring.  [default: more than half of those named]",
    ),
    click.option(
        "--threshold",
        type=click.IntRange(1),
        metavar="N",
        default=1,
        show_default=True,
        help="Keys that must have signed; with a keyring, different names.",
    ),
    click.option("--post-quantum", is_flag=True, help="One of the signatures must be by ML-DSA-65."),
    click.option(
        "--authorities", type=_FILE, metavar="PEM", help="CA certificates that signing certificates lead to."
    ),
    click.option("--signer-identity", default="", help="Who signed without a key: an address or a workflow."),
    click.option("--signer-issuer", default="", metavar="URL", help="Who vouches for that identity."),
    click.option(
        "--moment",
        callback=_moment,
        metavar="MOMENT",
        help="Judge expiry and age at another time than now, in UTC where no zone is given.",
    ),
)


def trust_options(function: Callable[..., int]) -> Callable[..., int]:
    """The flags that say whose signatures count."""
    for option in reversed(_TRUST):
        function = option(function)
    return function


def trust_of(flags: TrustFlags) -> TrustOptions:
    """The flags as the verbs take them."""
    from modelward.verbs.trust import TrustOptions

    return TrustOptions(
        public_keys=flags["public_key"],
        keyring=flags["keyring"],
        owners=flags["owner"],
        owners_threshold=flags["owners_threshold"],
        threshold=flags["threshold"],
        post_quantum=flags["post_quantum"],
        authorities=flags["authorities"],
        identity=flags["signer_identity"],
        issuer=flags["signer_issuer"],
        moment=flags["moment"],
    )


@click.command(epilog=_EPILOG)
@click.argument("path", type=_PATH)
@click.option("--signature", type=_FILE, help="Detached signature of what is at PATH.")
@trust_options
@click.option("--policy", type=_FILE, help="What must be attested for it to be admitted (docs/admission.md).")
@click.option("--attestations", type=_PATH, help="Folder of attestations beside a detached signature.")
@click.option("--partial", is_flag=True, help="Accept that signed files are missing; list them.")
@click.option("--ignore-unsigned", is_flag=True, help="Accept files that nobody signed.")
@click.option("--against", type=_FILE, help="The table as it was signed: say which rows changed.")
@click.option("--exclude", multiple=True, type=_PATH, help="Not part of what was signed.")
@click.option("--links", is_flag=True, help="Follow symbolic links that stay inside.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Threads.  [default: one per core]")
@click.option("--record", metavar="STORE", help="Ledger that the outcome is appended to.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write the result.",
)
@click.option("--output", type=_FILE, help="Write the result there and not to the screen.")
def command(path: Path, **flags: Unpack[Flags]) -> int:
    """Say who sealed PATH, whether it is still that, and whether a policy admits it.

    PATH is a sealed folder, or a model or data set with its detached signature. Nothing in it is loaded and
    no private key is needed. Exit code 0: every requirement holds; 1: one does not; 2: it could not be said.
    """
    from modelward.verbs.verify import VerifyOptions, verify

    options = VerifyOptions(
        signature=flags["signature"],
        trust=trust_of(flags),
        policy=flags["policy"],
        attestations=flags["attestations"],
        partial=flags["partial"],
        unsigned=flags["ignore_unsigned"],
        against=flags["against"],
        excluded=flags["exclude"],
        links=flags["links"],
        jobs=flags["jobs"],
        record=flags["record"],
    )
    with talk("verify") as talking:
        result = verify(path, options, talking)
    from modelward.reporting.text import clean
    from modelward.reporting.verification import verification_json, verification_text

    color = flags["output"] is None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    made = verification_json(result) if flags["form"] == "json" else None
    document = made or verification_text(result, color=color).encode()
    if flags["output"] is not None:
        from modelward.verbs.report import write_report

        write_report(flags["output"], document)
        click.echo(
            clean(f"{'verified' if result.verified else 'refused'}: written to {flags['output']}"), err=True
        )
    else:
        sys.stdout.buffer.write(document)
    return 0 if result.verified else 1
