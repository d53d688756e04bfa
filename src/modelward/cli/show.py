"""Where a rendered result goes, and the exit code that follows from it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from modelward.reporting.text import clean
from modelward.verbs.report import STORED, Format, render, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.reporting.exhibit import Exhibit
    from modelward.reporting.result import AuditResult

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "html"]),
    default="text",
    show_default=True,
    help="How to write the result.",
)
store_option = click.option(
    "--store",
    metavar="PLACE",
    help="Folder of the ledger, or postgresql://USER@HOST/DATABASE.  [default: .modelward]",
)
output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result there and not to the screen.",
)


show_witnesses_option = click.option(
    "--show-witnesses",
    type=click.IntRange(1, 50),
    metavar="N",
    help="Show the N worst witnesses: pictures, changed cells or texts.  [default: no row of data is shown]",
)


def placed(store: str | None) -> dict[str, object]:
    """The options that --store stands for; none where it was not given."""
    from modelward.ledger.place import is_database

    if store is None:
        return {}
    return {"database": store} if is_database(store) else {"store": Path(store)}


def asked(result: AuditResult, store: Path, count: int | None) -> Sequence[Exhibit] | None:
    """The witnesses to show; null where none were asked for."""
    if count is None:
        return None
    from modelward.verbs.exhibits import exhibits

    return exhibits(result, store, count)


def show(
    result: AuditResult, form: str, output: Path | None, exhibits: Sequence[Exhibit] | None = None
) -> int:
    """Write a result where it was asked for.

    Args:
        result: the audit.
        form: one of the formats.
        output: a file; null: the screen.
        exhibits: witnesses to show; null shows none.

    Returns:
        0 when the policy is satisfied, else 1.
    """
    if output is not None:
        write_report(output, render(result, cast("Format", form), exhibits), advice=STORED)
        click.echo(clean(f"{result.verdict.outcome}: written to {output}"), err=True)
    elif form == "text":
        from modelward.reporting.terminal import to_text

        tty = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = shutil.get_terminal_size().columns
        click.echo(to_text(result, width=width, color=tty, exhibits=exhibits), nl=False)
    else:
        sys.stdout.buffer.write(render(result, cast("Format", form), exhibits))
    return 0 if result.verdict.outcome == "pass" else 1
