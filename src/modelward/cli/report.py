"""`modelward report`."""

from __future__ import annotations

from pathlib import Path

import click

from modelward.cli.show import format_option, output_option, show

_EPILOG = """\b
Examples:
  modelward report --format html --output report.html
  modelward report --verify --head 5dc9da79a706...
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path(".modelward"),
    show_default=True,
    help="Folder of the ledger.",
)
@click.option("--run", help="Beginning of a run identity.  [default: the latest run]")
@click.option("--verify", is_flag=True, help="Only verify the ledger, and print its head.")
@click.option("--head", help="A head printed earlier, which the ledger must continue.")
@format_option
@output_option
def command(
    store: Path, run: str | None, *, verify: bool, head: str | None, form: str, output: Path | None
) -> int:
    """Render a stored result again, or verify the store it is in.

    Any altered, removed, inserted or reordered record is refused with exit code 2.
    """
    from modelward.verbs.report import report, verify_store

    if verify or head is not None:
        found = verify_store(store, head)
        click.echo(f"verified {found.size} records, head {found.root}", err=not verify)
        if verify:
            return 0
    return show(report(store, run), form, output)
