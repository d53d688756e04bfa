"""`modelward init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example: modelward init examples/medical")
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(folder: Path, *, force: bool) -> int:
    """Write a commented modelward.toml with secure defaults for the files in FOLDER."""
    from modelward.reporting.text import clean
    from modelward.verbs.init import init

    path, found = init(folder, overwrite=force)
    for line in found:
        click.echo(clean(f"found {line}"))
    click.echo(clean(f"wrote {path}"))
    return 0
