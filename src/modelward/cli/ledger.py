"""`modelward ledger`."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click
import msgspec

from modelward.errors import ConfigInvalid, LedgerTampered, SealRefused
from modelward.reporting.text import clean, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelward.vault.keys.signer import Signer
    from modelward.verbs.ledger_verify import Against, Verified

SCHEMA: Final = "modelward.ledger/1"

_GROUP = """\b
Examples:
  modelward ledger export .modelward -o log --key log.pem --origin example.com/audits
  modelward ledger witness log --key witness.pem --state seen.json --public-key log.vkey
  modelward ledger prove log --index 7 -o record.tlog-proof
  modelward ledger verify record.tlog-proof --public-key example.com/audits+1f2e3d4c+AX...
"""
_EXPORT = """\b
Examples:
  modelward ledger export .modelward -o log --key log.pem --origin example.com/audits
  modelward ledger export postgresql://audit@db/evidence -o log --key log.pem --origin example.com/audits
"""
_PROVE = """\b
Examples:
  modelward ledger prove log --index 7 -o record.tlog-proof
  modelward ledger prove .modelward --record 5dc9da79a706 -o record.tlog-proof
  modelward ledger prove log --since 1200 -o growth.proof
"""
_VERIFY = """\b
Examples:
  modelward ledger verify record.tlog-proof --public-key log.vkey --witness w1.vkey
  modelward ledger verify log --public-key log.vkey --since last-month.checkpoint
  modelward ledger verify .modelward --head 5dc9da79a706...
"""
_WITNESS = """\b
Examples:
  modelward ledger witness log --key witness.pem --state seen.json --public-key log.vkey
  modelward ledger witness growth.proof --key witness.pem --state seen.json --public-key log.vkey
"""


class Export(TypedDict):
    """What click hands over to `export`."""

    output: Path
    key: str
    origin: str
    hashes_only: bool
    passphrase_file: Path | None
    form: str


class Prove(TypedDict):
    """What click hands over to `prove`; null where a flag was not given."""

    index: int | None
    record: str | None
    since: int | None
    checkpoint: Path | None
    without_record: bool
    output: Path | None


class Verify(TypedDict):
    """What click hands over to `verify`; null or empty where a flag was not given."""

    public_key: tuple[str, ...]
    witness: tuple[str, ...]
    threshold: int | None
    origin: str | None
    head: str | None
    since: Path | None
    record: str | None
    form: str


class Attest(TypedDict):
    """What click hands over to `witness`; null where a flag was not given."""

    key: str
    name: str | None
    state: Path
    public_key: tuple[str, ...]
    output: Path | None
    passphrase_file: Path | None
    form: str


_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="How to say what happened.",
)  # fmt: skip
_passphrase = click.option(
    "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False),
    help="File with the key's passphrase.  [default: MODELWARD_PASSPHRASE, or asked]",
)  # fmt: skip
_key = click.option("--key", required=True, help="Private key: a PEM file, env:NAME, pkcs11:... or vault:...")
_public = click.option(
    "--public-key", multiple=True,
    help="Key of the log: name+id+key, a file that holds such lines, or PEM.",
)  # fmt: skip


@click.group(epilog=_GROUP)
def command() -> None:
    """Publish the evidence store as a transparency log, prove what is in it, witness it.

    Everything works on files alone, without a network, in the formats of C2SP: other tools read them too.
    """


@click.command(epilog=_EXPORT)
@click.argument("store")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the log.",
)
@_key
@click.option("--origin", required=True, help="The log's name, like example.com/audits.")
@click.option("--hashes-only", is_flag=True, help="Publish no record: they can hold personal data.")
@_passphrase
@_format
def export(store: str, **flags: Unpack[Export]) -> int:
    """Publish STORE (a folder, or postgresql://...) as tiles with a signed checkpoint.

    Only what is new is written. A store that does not continue what was signed before is refused.
    """
    from modelward.verbs.ledger import export as publish

    signer = _signer(flags["key"], flags["passphrase_file"])
    done = publish(store, flags["output"], signer, flags["origin"], records=not flags["hashes_only"])
    said = f"{plural(done.size, 'record')}, head {done.root}; "
    said += f"{plural(done.written, 'file')} written to {flags['output']}"
    _say(flags["form"], said, msgspec.to_builtins(done), more=f"public key: {done.key}")
    return 0


@click.command(epilog=_PROVE)
@click.argument("log")
@click.option("--index", type=click.IntRange(0), help="Prove that the record at this place is in the log.")
@click.option("--record", help="The same, by the record's digest or its beginning.")
@click.option(
    "--since", type=click.IntRange(0), help="Prove that the log continues the one of so many records."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prove it against this one.  [default: that of the tiles; of a store, its head, unsigned]",
)
@click.option("--without-record", is_flag=True, help="Keep the record's content out of the proof.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the proof there and not to the screen.",
)
def prove(log: str, **flags: Unpack[Prove]) -> int:
    """Prove what is in LOG: tiles, a store's folder, or postgresql://...

    A proof of a record holds the record, unless you say --without-record.
    """
    from modelward.ledger.tiles import MOST_CHECKPOINT, read_plain
    from modelward.verbs.ledger import prove_record, prove_since, write_file

    asked = [flags["index"], flags["record"], flags["since"]]
    if sum(flag is not None for flag in asked) != 1:
        raise ConfigInvalid("one thing can be proven at a time", advice="Give --index, --record or --since.")
    path = flags["checkpoint"]
    checkpoint = read_plain(path, MOST_CHECKPOINT) if path is not None else None
    if flags["since"] is not None:
        proof = prove_since(log, flags["since"], checkpoint)
    else:
        named = flags["index"] if flags["index"] is not None else str(flags["record"])
        proof = prove_record(log, named, checkpoint, with_record=not flags["without_record"])
    if flags["output"] is None:
        sys.stdout.buffer.write(proof)
    else:
        write_file(flags["output"], proof)
        click.echo(clean(f"written to {flags['output']}"), err=True)
    return 0


@click.command(epilog=_VERIFY)
@click.argument("path")
@_public
@click.option(
    "--witness", multiple=True, help="Key of a witness: name+id+key, or a file that holds such lines."
)
@click.option(
    "--threshold",
    type=click.IntRange(1),
    help="How many of the witnesses must have cosigned.  [default: all]",
)
@click.option("--origin", help="The log's name, where the key is PEM or has another one.")
@click.option(
    "--head", help="A head that was printed or kept, all 64 hexadecimal digits; the log may have grown since."
)
@click.option(
    "--since",
    type=click.Path(path_type=Path, dir_okay=False),
    help="An older checkpoint, which the log must continue.",
)
@click.option("--record", help="Leaf hash of the record, or a file with it, for a proof without it.")
@_format
def verify(path: str, **flags: Unpack[Verify]) -> int:
    """Verify PATH: a proof, a checkpoint, tiles, a store's folder, or postgresql://...

    Exit code 0: it holds; 1: it does not; 2: it could not be said, or a store was altered, as `modelward
    report --verify` has it. What nothing showed is listed as not looked at.
    """
    from modelward.verbs.ledger_verify import verify as check

    against = _against(path, flags)
    try:
        found = check(path, against, int(time.time()))
    except (SealRefused, LedgerTampered) as error:
        if flags["form"] == "json":
            reasons = [clean(str(error))]
            click.echo(json.dumps({"schema": SCHEMA, "verified": False, "reasons": reasons}, indent=2))
        raise
    _say(flags["form"], _sentence(found), {"verified": True, "reasons": [], **msgspec.to_builtins(found)})
    if flags["form"] == "text":
        for one in found.skipped:
            click.echo(f"  not looked at: {clean(one.what)}: {clean(one.reason)}")
    return 0


@click.command(epilog=_WITNESS)
@click.argument("path", type=click.Path(path_type=Path))
@_key
@click.option("--name", help="The witness's name.  [default: witness-, and 16 digits of its key]")
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="What the witness remembers; keep it, and keep it safe.",
)
@_public
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the cosigned checkpoint there.  [default: into the tiles, else its new line to the screen]",
)
@_passphrase
@_format
def witness(path: Path, **flags: Unpack[Attest]) -> int:
    """Cosign the checkpoint of PATH: tiles, or a proof by `prove --since`, or a checkpoint.

    Refused when it does not continue every checkpoint that this witness cosigned before: that is what a
    witness is for. The first checkpoint of a log is believed.
    """
    from modelward.vault.witness import Witness
    from modelward.verbs.ledger import add_cosignature, write_file
    from modelward.verbs.ledger import witness as ask
    from modelward.verbs.ledger_verify import log_keys, read_checkpoint

    signer = _signer(flags["key"], flags["passphrase_file"])
    keeper = Witness(signer, flags["name"] or f"witness-{signer.public.key_id[:16]}", flags["state"])
    named = read_checkpoint(path)
    first = keeper.last(named.origin) is None
    line, note = ask(path, keeper, log_keys(flags["public_key"], named.origin), int(time.time()))
    if flags["output"] is not None:
        write_file(flags["output"], note)
    elif path.is_dir():
        add_cosignature(path, line, note)
    elif flags["form"] == "text":
        click.echo(line.line(), nl=False)
    said = f"cosigned {named.origin} at {plural(named.size, 'record')}"
    said += "; nothing was remembered of it, so it was believed" if first else ""
    key = keeper.key.text()
    content = {"origin": named.origin, "size": named.size, "line": line.line(), "key": key}
    _say(flags["form"], said, content, more=f"public key: {key}", quiet=True)
    return 0


for _verb in (export, prove, verify, witness):
    command.add_command(_verb)


def _against(path: str, flags: Verify) -> Against:
    from modelward.ledger.tiles import MOST_CHECKPOINT, read_plain
    from modelward.vault.notes import Trust
    from modelward.verbs.ledger_verify import Against, leaf_of, log_keys, origin_of, witness_keys

    head = flags["head"]
    if head is not None and not re.fullmatch("[0-9a-f]{64}", head := head.strip().lower()):
        raise ConfigInvalid(f"{head!r} is not a head", advice="Give all 64 hexadecimal digits.")
    trust = None
    if flags["public_key"]:
        witnesses = witness_keys(flags["witness"])
        if (flags["threshold"] or 0) > len(witnesses):
            raise ConfigInvalid(f"--threshold asks for {flags['threshold']} of {len(witnesses)} witnesses")
        trust = Trust(
            logs=log_keys(flags["public_key"], flags["origin"] or origin_of(path, flags["since"])),
            witnesses=witnesses,
            threshold=flags["threshold"],
            origin=flags["origin"],
        )
    elif flags["witness"] or flags["threshold"] is not None:
        raise ConfigInvalid("witnesses count for a log whose --public-key is named")
    return Against(
        trust=trust,
        head=head,
        since=read_plain(flags["since"], MOST_CHECKPOINT) if flags["since"] is not None else None,
        leaf=leaf_of(flags["record"]) if flags["record"] is not None else None,
    )


def _signer(reference: str, file: Path | None) -> Signer:
    from modelward.vault.keys.opening import open_signer
    from modelward.vault.keys.secrets import passphrase_from

    prompt = None
    if sys.stdin.isatty():

        def prompt() -> bytes:
            return str(click.prompt(f"Passphrase of {reference}", hide_input=True, err=True)).encode()

    def warn(sentence: str) -> None:
        click.echo(f"modelward: {clean(sentence)}", err=True)

    return open_signer(reference, passphrase_from(file, prompt, warn), warn=warn)


def _sentence(found: Verified) -> str:
    signed = f"; signed by {found.signer}" if found.signer and found.origin else ""
    cosigned = (
        f"; cosigned by {', '.join(sorted(w.name for w in found.witnesses))}" if found.witnesses else ""
    )
    since = f"; continues the {plural(found.since, 'record')} of before" if found.since else ""
    since = "; continues the empty log" if found.since == 0 else since
    shown = (
        "consistent in itself"
        if found.kind == "store" and found.skipped and found.since is None
        else "verified"
    )
    return f"{shown}: {_what(found)}{signed}{cosigned}{since}"


def _what(found: Verified) -> str:
    if found.size is None:
        kept = f"a log with the head {found.root}, whose name and size nobody signed"
        return f"record {found.leaf} is in {kept}" if found.leaf else f"{kept}; no record was at hand"
    records = plural(found.size, "record")
    held = "which are at hand" if found.records == found.size else "whose hashes alone are at hand"
    return {
        "record": f"record {found.index} is in the log {found.origin} of {records}",
        "consistency": f"the log {found.origin} of {records} continues the older one",
        "checkpoint": f"the checkpoint of {found.origin} at {records}",
        "tiles": f"the log {found.origin or f'with the head {found.root}'} of {records}, {held}",
        "store": f"{records}, head {found.root}",
    }[found.kind]


def _say(
    form: str, sentence: str, content: Mapping[str, object], *, more: str = "", quiet: bool = False
) -> None:
    """Say what happened; what a person wants to copy goes to standard error, where it disturbs no pipe."""
    if form == "json":
        click.echo(json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False))
        return
    click.echo(clean(sentence), err=quiet)
    if more:
        click.echo(clean(more), err=True)
