"""`modelward scan`."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.artifact.verdict import ArtifactReport
    from modelward.reporting.scan_report import Bar, Refusal
    from modelward.verbs.scan import ScanOptions, ScanTable
    from modelward.verbs.scan_baseline import Baseline


class Flags(TypedDict):
    """What click hands over; null or empty where a flag was not given."""

    form: str
    output: Path | None
    fail_on: Refusal | None
    fail_on_finding: Bar | None
    baseline: Path | None
    write_baseline: Path | None
    vulnerabilities: str | None
    deep_secrets: bool
    config: Path | None
    jobs: int | None
    unsafe_host: tuple[str, ...]


_EPILOG = """\b
Examples:
  modelward scan model.pkl
  modelward scan models/ --format json --fail-on dangerous
  modelward scan hf://owner/name@main
  curl -s https://example.org/model.pt | modelward scan -
  modelward scan . --write-baseline .modelward-baseline.json
  modelward scan . --baseline .modelward-baseline.json --format sarif --output scan.sarif
"""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog=_EPILOG)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="Output.",
)
@click.option("--output", type=_FILE, help="Write the result there and not to the screen.")
@click.option(
    "--fail-on",
    type=click.Choice(["dangerous", "unproven"]),
    help="Mildest verdict that gives exit code 1; what could not be read counts as unproven.  "
    "[default: unproven]",
)
@click.option(
    "--fail-on-finding",
    type=click.Choice(["critical", "high", "medium", "low", "never"]),
    help="Mildest severity in source, configuration, secrets and dependencies that gives exit code 1.  "
    "[default: high]",
)
@click.option("--baseline", type=_FILE, help="Findings that were accepted before; they do not count.")
@click.option("--write-baseline", type=_FILE, help="Accept what is found now, and write it there.")
@click.option(
    "--vulnerabilities",
    metavar="OSV",
    help="Compare pinned packages with an OSV export (zip or folder), or with OSV `online`.",
)
@click.option("--deep-secrets", is_flag=True, help="Look for secrets with detect-secrets as well.")
@click.option("--config", type=_FILE, help="Configuration file with a table [scan].")
@click.option("--jobs", type=click.IntRange(1), help="Processes for folders.  [default: one per core]")
@click.option(
    "--unsafe-host",
    multiple=True,
    metavar="HOST",
    help="A host of a private, loopback or link-local address that may be asked.",
)
def command(sources: tuple[str, ...], **flags: Unpack[Flags]) -> int:
    """Say what loading each file can do: inert, dangerous or unproven. Nothing is loaded.

    SOURCE is a file, a folder with all files below it, `-` for standard input, an http(s) URL, or
    hf://owner/name[@revision][/path] for a repository of a Hugging Face hub.
    """
    from modelward.reporting.scan_report import refused
    from modelward.verbs.scan import ScanOptions, settle

    table = _table(flags)
    known = _baseline(flags["baseline"] or table.baseline)
    options = ScanOptions(
        jobs=flags["jobs"] or len(os.sched_getaffinity(0)),
        hosts=frozenset(flags["unsafe_host"]),
        vulnerabilities=flags["vulnerabilities"] or table.vulnerabilities,
        licences=table.licences,
        deep_secrets=flags["deep_secrets"] or table.deep_secrets,
    )
    reports = settle(_scan(sources, options), options)
    if known is not None:
        from modelward.verbs.scan_baseline import accept

        reports = accept(reports, known, date.today())  # noqa: DTZ011 - a date in a file has no zone
    if flags["write_baseline"] is not None:
        from modelward.verbs.scan_baseline import write_baseline

        count = write_baseline(flags["write_baseline"], reports)
        click.echo(f"{count} findings accepted in {flags['write_baseline']}", err=True)
        return 0
    _show(reports, flags["form"], flags["output"])
    bar = flags["fail_on_finding"] or table.fail_on_finding
    return int(any(refused(report, flags["fail_on"] or table.fail_on, bar) for report in reports))


def _table(flags: Flags) -> ScanTable:
    from modelward.verbs.scan import ScanTable

    if flags["config"] is None:
        return ScanTable()
    from modelward.verbs.config import read_scan

    return read_scan(flags["config"])


def _baseline(path: Path | str | None) -> Baseline | None:
    if path is None:
        return None
    from modelward.verbs.scan_baseline import read_baseline

    return read_baseline(Path(path))


def _show(reports: list[ArtifactReport], form: str, output: Path | None) -> None:
    if output is not None:
        from modelward.verbs.report import write_report

        write_report(output, _render(form)(reports))
    elif form == "text":
        from modelward.reporting.scan_text import scan_text

        click.echo(scan_text(reports, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    else:
        sys.stdout.buffer.write(_render(form)(reports) + b"\n")


def _render(form: str) -> Callable[[list[ArtifactReport]], bytes]:
    if form == "json":
        from modelward.reporting.scan_report import scan_json

        return scan_json
    if form == "sarif":
        from modelward.reporting.scan_sarif import scan_sarif

        return scan_sarif
    from modelward.reporting.scan_text import scan_text

    return lambda reports: scan_text(reports).encode() + b"\n"


def _scan(sources: tuple[str, ...], options: ScanOptions) -> list[ArtifactReport]:
    """All reports; a folder or a download can take long, so files are counted on a terminal."""
    from modelward.verbs.scan import REMOTE, scan_each

    found = scan_each(sources, options)
    slow = any(source.startswith(REMOTE) or Path(source).is_dir() for source in sources)
    return _counted(found) if sys.stderr.isatty() and slow else list(found)


def _counted(found: Iterator[ArtifactReport]) -> list[ArtifactReport]:
    """Worker processes start with the first report, before the display starts its thread."""
    from itertools import chain, islice

    first = list(islice(found, 1))
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} files"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        return list(progress.track(chain(first, found), description="scan"))
