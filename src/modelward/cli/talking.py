"""How the verbs about seals speak on a terminal: passphrases, warnings, bytes done."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.verbs.talk import Talk

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File whose first line is the passphrase or PIN.  [default: MODELWARD_PASSPHRASE, else asked]",
)


@contextmanager
def talk(what: str, passphrase_file: Path | None = None) -> Iterator[Talk]:
    """Someone to ask and tell, with a bar of bytes where there is a terminal.

    Args:
        what: a word in front of the bar.
        passphrase_file: file whose first line is the passphrase.
    """
    from modelward.vault.keys.secrets import passphrase_from
    from modelward.verbs.talk import Talk

    ask = passphrase_from(passphrase_file, _prompt if sys.stdin.isatty() else None, warn)
    with _bar(what) as progress:
        yield Talk(passphrase=ask, warn=warn, progress=progress)


def warn(sentence: str) -> None:
    """Say what is unwise, on standard error."""
    from modelward.reporting.text import clean

    click.echo(f"modelward: warning: {clean(sentence)}", err=True)


def _prompt() -> bytes:
    phrase: str = click.prompt("Passphrase", hide_input=True, err=True)
    return phrase.encode()


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(what), BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
