"""How the verbs about seals speak on a terminal: passphrases, warnings, bytes done."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from modelward.verbs.talk import Talk

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File whose first line is the passphrase or PIN.  [default: MODELWARD_PASSPHRASE, else asked]",
)


@contextmanager
def talk(what: str, passphrase_file: Path | None = None) -> Iterator[Talk]:
    """Someone to ask and tell, with a bar of bytes where there is a terminal; results are printed after it.

    Args:
        what: a word in front of the bar.
        passphrase_file: file whose first line is the passphrase.
    """
    from modelward.vault.keys.secrets import passphrase_from
    from modelward.verbs.talk import Talk

    bar = _Bar(what)

    def alone(sentence: str) -> None:
        bar.clear()
        warn(sentence)

    def prompt(of: str, *, twice: bool = False) -> bytes:
        bar.clear()
        phrase: str = click.prompt(of, hide_input=True, confirmation_prompt=twice, err=True)
        return phrase.encode()

    there = sys.stdin.isatty()
    ask = passphrase_from(passphrase_file, (lambda: prompt("Passphrase")) if there else None, alone)
    chosen = (lambda: prompt("New passphrase, for who opens it", twice=True)) if there else None
    try:
        yield Talk(passphrase=ask, chosen=chosen, warn=alone, progress=bar if sys.stderr.isatty() else None)
    finally:
        bar.clear()


def warn(sentence: str) -> None:
    """Say what is unwise, on standard error."""
    from modelward.reporting.text import clean

    click.echo(f"modelward: warning: {clean(sentence)}", err=True)


@final
class _Bar:
    """Bytes done: drawn from the first of them on, and gone before anything else is said."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._drawn: Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        """Move it."""
        if self._drawn is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (
                TextColumn(self._what),
                BarColumn(bar_width=30),
                DownloadColumn(),
                TransferSpeedColumn(),
            )
            self._drawn = Progress(*columns, console=Console(stderr=True), transient=True)
            self._drawn.add_task(self._what, total=total)
            self._drawn.start()
        self._drawn.update(self._drawn.task_ids[0], completed=done, total=total)

    def clear(self) -> None:
        """Take it away; the next bytes draw it again."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None
