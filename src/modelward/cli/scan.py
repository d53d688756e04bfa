"""`modelward scan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modelward.artifact.verdict import ArtifactReport

_EPILOG = """\b
Examples:
  modelward scan model.pkl
  modelward scan models/ --format json --fail-on dangerous
"""


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="Output.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["dangerous", "unproven"]),
    default="unproven",
    show_default=True,
    help="Mildest verdict that gives exit code 1; what could not be read counts as unproven.",
)
def command(paths: tuple[Path, ...], *, form: str, fail_on: str) -> int:
    """Say what loading each file can do: inert, dangerous or unproven. Nothing is loaded.

    Folders are scanned with all files below them; links inside them are not followed.
    """
    from modelward.reporting.scan_report import scan_json, scan_sarif, scan_text

    reports = _scan(paths)
    if form == "text":
        click.echo(scan_text(reports))
    else:
        sys.stdout.buffer.write((scan_json if form == "json" else scan_sarif)(reports) + b"\n")
    refused = {"dangerous"} if fail_on == "dangerous" else {"dangerous", "unproven", "error"}
    return 1 if any(report.verdict in refused for report in reports) else 0


def _scan(paths: tuple[Path, ...]) -> list[ArtifactReport]:
    """All reports; a folder can take long, so files are counted on a terminal."""
    from modelward.verbs.scan import scan_each

    if not (sys.stderr.isatty() and any(path.is_dir() for path in paths)):
        return list(scan_each(paths))
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} files"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        return list(progress.track(scan_each(paths), description="scan"))
