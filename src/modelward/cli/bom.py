"""`modelward bom`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from modelward.cli.talking import talk

if TYPE_CHECKING:
    from modelward.verbs.bom import BomFormat


class Flags(TypedDict):
    """What click hands over; empty where a flag was not given."""

    form: BomFormat
    data: tuple[Path, ...]
    name: str
    version: str
    supplier: str
    output: Path | None


_EPILOG = """\b
Examples:
  modelward bom models/fraud --output bom.json
  modelward bom model.onnx --data train.parquet --name fraud --version 3.1
  modelward bom models/fraud --format spdx --supplier 'Example Ltd'
"""


@click.command(epilog=_EPILOG)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["cyclonedx", "spdx"]),
    default="cyclonedx",
    show_default=True,
    help="CycloneDX 1.6 as JSON, or SPDX 3.0.1 as JSON-LD.",
)
@click.option("--data", multiple=True, type=click.Path(path_type=Path), help="Data it was trained on.")
@click.option("--name", default="", help="Name of the whole.  [default: the folder's or file's]")
@click.option("--version", default="", help="Version of the whole.  [default: what a model card states]")
@click.option("--supplier", default="", help="Who supplies it.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the document there and not to the screen.",
)
def command(path: Path, **flags: Unpack[Flags]) -> int:
    """List what PATH consists of: models with their tensors and verdicts, data, packages, licences, digests.

    Nothing is loaded. SOURCE_DATE_EPOCH fixes the time that the document states.
    """
    from modelward.verbs.bom import BomOptions, bom
    from modelward.verbs.report import write_report

    options = BomOptions(
        form=flags["form"],
        name=flags["name"],
        version=flags["version"],
        supplier=flags["supplier"],
        data=flags["data"],
        jobs=len(os.sched_getaffinity(0)),
    )
    with talk("bom") as talking:
        document = bom(path, options, talking)
    output = flags["output"]
    if output is not None:
        write_report(output, document)
        click.echo(f"written to {output}", err=True)
    else:
        sys.stdout.buffer.write(document)
    return 0
