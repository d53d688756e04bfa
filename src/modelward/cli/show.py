"""Where a rendered result goes, and the exit code that follows from it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from modelward.reporting.text import clean
from modelward.verbs.report import Format, render, write_report

if TYPE_CHECKING:
    from modelward.reporting.result import AuditResult

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "html"]),
    default="text",
    show_default=True,
    help="How to write the result.",
)
output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result there and not to the screen.",
)


def show(result: AuditResult, form: str, output: Path | None) -> int:
    """Write a result where it was asked for.

    Returns:
        0 when the policy is satisfied, else 1.
    """
    if output is not None:
        write_report(output, render(result, cast("Format", form)))
        click.echo(clean(f"{result.verdict.outcome}: written to {output}"), err=True)
    elif form == "text":
        from modelward.reporting.terminal import to_text

        tty = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        click.echo(to_text(result, width=shutil.get_terminal_size().columns, color=tty), nl=False)
    else:
        sys.stdout.buffer.write(render(result, cast("Format", form)))
    return 0 if result.verdict.outcome == "pass" else 1
