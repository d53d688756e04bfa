"""`modelward report`."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

import click
from click.core import ParameterSource

from modelward.cli.show import asked, format_option, output_option, show, show_witnesses_option, store_option
from modelward.errors import ConfigInvalid
from modelward.reporting.text import clean


class Flags(TypedDict):
    """What else click hands over; null where a flag was not given."""

    points: Path | None
    show_witnesses: int | None
    form: str
    output: Path | None


_EPILOG = """\b
Examples:
  modelward report --format html --output report.html
  modelward report --format html --output report.html --show-witnesses 6
  modelward report --points points.csv
  modelward report --verify --head 5dc9da79a706...
"""


@click.command(epilog=_EPILOG)
@store_option
@click.option("--run", help="Beginning of a run identity.  [default: the latest run]")
@click.option("--verify", is_flag=True, help="Only verify the ledger, and print its head.")
@click.option("--head", help="A head printed earlier, which the ledger must continue.")
@click.option(
    "--points",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what became of every point under every norm and eps there (csv).",
)
@show_witnesses_option
@format_option
@output_option
def command(
    store: str | None, run: str | None, *, verify: bool, head: str | None, **flags: Unpack[Flags]
) -> int:
    """Render a stored result again, or verify the store it is in.

    Any altered, removed, inserted or reordered record is refused with exit code 2.
    """
    from modelward.ledger.place import LOCAL, local_folder
    from modelward.verbs.report import report, verify_store

    place = LOCAL if store is None else store
    if verify:
        _require_alone(flags, run)
    if verify or head is not None:
        found = verify_store(place, head)
        click.echo(f"verified {found.size} records, head {found.root}", err=not verify)
        if verify:
            return 0
    result = report(place, run)
    if flags["points"] is not None:
        from modelward.verbs.points import save_points

        count = save_points(result, flags["points"])
        click.echo(clean(f"{count} lines written to {flags['points']}"), err=True)
    return show(
        result, flags["form"], flags["output"], asked(result, local_folder(place), flags["show_witnesses"])
    )


def _require_alone(flags: Flags, run: str | None) -> None:
    """Refuse what --verify would leave undone: it reads the ledger and renders nothing.

    Raises:
        ConfigInvalid: naming each.
    """
    source = click.get_current_context().get_parameter_source
    stated = {
        "--run": run is not None,
        "--points": flags["points"] is not None,
        "--show-witnesses": flags["show_witnesses"] is not None,
        "--format": source("form") is ParameterSource.COMMANDLINE,
        "--output": flags["output"] is not None,
    }
    if named := [flag for flag, given in stated.items() if given]:
        raise ConfigInvalid(
            f"--verify only verifies the ledger, and {', '.join(named)} cannot go with it",
            advice="Leave --verify out to render a result; --head verifies before it does.",
        )
