"""`modelward harden`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

import click
import msgspec

from modelward.cli.show import placed, store_option
from modelward.errors import ConfigInvalid

if TYPE_CHECKING:
    from modelward.core.check import Preset
    from modelward.threats.evasion.harden.detectors.control import Kind
    from modelward.threats.evasion.harden.methods import Training
    from modelward.verbs.options import AuditOptions


class Flags(TypedDict):
    """What click hands over; null where a flag was not given."""

    data: str
    train: str | None
    against: str
    method: str
    factory: str | None
    norm: str | None
    eps: float
    bounds: str | None
    label: str | None
    text: str | None
    checks: str
    preset: Preset
    limit: int
    epochs: int | None
    batch: int | None
    rate: float | None
    steps: int | None
    beta: float | None
    gamma: float | None
    kappa: float | None
    small: float | None
    ramp: float | None
    trees: int | None
    depth: int | None
    held_out: int | None
    minutes: float | None
    seed: int
    output: Path
    onnx: bool
    detectors: str | None
    store: str | None
    form: str


_EPILOG = """\b
Examples:
  modelward harden net.safetensors --method trades --factory net:build \\
      --train train.npz --data test.npz --norm linf --eps 0.3 --output hardened/
  modelward harden net.pt --method ibp --kappa 0.5 --epochs 30 --factory net:build \\
      --train train.npz --data test.npz --eps 0.1 --bounds 0,1 --minutes 30 --onnx
  modelward harden booster.json --method trees --train train.csv --data test.csv --eps 0.05
  modelward harden spam.skops --method normalise --data test.csv --text message --label kind --eps 2
"""


@click.command(epilog=_EPILOG)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Samples to audit on, before and after; never trained on.")
@click.option("--train", help="Samples to learn from; nets hold out a part to choose the epoch.")
@click.option(
    "--against", type=click.Choice(["evasion"]), default="evasion", show_default=True, help="Threat."
)
@click.option(
    "--method", default="trades", show_default=True,
    help="pgd, trades, awp, fast, ibp, crown-ibp, sabr, noise; trees; normalise (texts). See docs/harden.md.",
)  # fmt: skip
@click.option(
    "--factory", help="package.module:function that builds the torch module. It is imported and run."
)
@click.option("--norm", help="linf or l2.  [default: linf; l2 for noise]")
@click.option(
    "--eps", type=float, required=True, help="Radius in the box's unit; noise: its deviation; texts: edits."
)
@click.option("--bounds", help="The box of inputs, like 0,1.  [default: inferred]")
@click.option("--label", help="Label column of a table.")
@click.option("--text", help="Column of texts, where that is what the model reads.")
@click.option(
    "--checks", default="quality,evasion", show_default=True, help="Of both audits, as for `audit`."
)
@click.option("--preset", default="standard", show_default=True, help="Of both audits.")
@click.option("--limit", type=int, default=200, show_default=True, help="Points that both audits attack.")
@click.option("--epochs", type=int, help="Passes over the training samples.  [default: 20]")
@click.option("--batch", type=int, help="Samples per step.  [default: 128]")
@click.option("--rate", type=float, help="Largest learning rate of Adam.  [default: 0.001]")
@click.option("--steps", type=int, help="pgd, trades, awp, sabr: of the inner attack.  [default: 7]")
@click.option("--beta", type=float, help="trades: weight of the penalty.  [default: 6]")
@click.option("--gamma", type=float, help="awp: relative size of the change of weights.  [default: 0.005]")
@click.option("--kappa", type=float, help="ibp, crown-ibp: share of the clean loss.  [default: 0.5]")
@click.option("--small", type=float, help="sabr: width of the box relative to eps.  [default: 0.4]")
@click.option("--ramp", type=float, help="Share of the training over which eps grows.  [default: 0.4]")
@click.option("--trees", type=int, help="trees: how many.  [default: 100]")
@click.option("--depth", type=int, help="trees: most questions on a path.  [default: 8]")
@click.option("--held-out", type=int, help="Training samples that choose the epoch.  [default: 500]")
@click.option("--minutes", type=float, help="CPU minutes the defence may take.  [default: unlimited]")
@click.option("--seed", type=int, default=0, show_default=True, help="The only source of randomness.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("hardened"), show_default=True,
    help="Folder for the model, comparison and checkpoint.",
)  # fmt: skip
@click.option(
    "--detectors", help="Fitted and attacked afterwards: squeezing, mahalanobis, neighbours, consistency."
)
@click.option("--onnx", is_flag=True, help="Write the hardened model as ONNX too.")
@store_option
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True,
    help="How to write the comparison; json and html are in the output folder too.",
)  # fmt: skip
def command(model: Path, **flags: Unpack[Flags]) -> int:
    """Train MODEL to withstand more, and show what that changed.

    The model is audited, a copy is trained, grown anew (trees) or shielded (texts), and audited on the same
    points. A killed training continues after its last epoch. MODEL itself stays as it is.
    """
    import shutil
    import sys

    from modelward.cli.progress import observer
    from modelward.reporting.comparison import to_html, to_json_bytes, to_text
    from modelward.verbs.harden import HardenOptions, harden

    options = HardenOptions(
        training=_training(flags),
        audit=_audit(flags),
        output=flags["output"],
        minutes=flags["minutes"],
        onnx=flags["onnx"],
        detectors=cast("tuple[Kind, ...]", _words(flags["detectors"] or "")),
    )
    with observer() as watcher:
        found = harden(model, flags["data"], options, observer=watcher)
    if flags["form"] == "text":
        click.echo(to_text(found, width=shutil.get_terminal_size().columns), nl=False)
    else:
        sys.stdout.buffer.write(to_json_bytes(found) if flags["form"] == "json" else to_html(found).encode())
    return 0 if found.after.verdict.outcome == "pass" else 1


def _training(flags: Flags) -> Training:
    import msgspec

    from modelward.threats.evasion.harden.methods import CHOICES, Training, require_own

    stated = {name: value for name, value in flags.items() if name in CHOICES and value is not None}
    require_own(flags["method"], stated)
    norm = flags["norm"] or ("l2" if flags["method"] == "noise" else "linf")
    plain = msgspec.structs.asdict(Training(eps=flags["eps"])) | stated
    return Training(**plain | {"method": flags["method"], "norm": norm})


def _audit(flags: Flags) -> AuditOptions:
    from modelward.verbs.options import AuditOptions

    options = AuditOptions(
        train=flags["train"],
        factory=flags["factory"],
        import_from=Path.cwd(),
        bounds=_bounds(flags["bounds"]),
        label=flags["label"],
        text=flags["text"],
        checks=_words(flags["checks"]),
        preset=flags["preset"],
        limit=flags["limit"],
        seed=flags["seed"],
    )
    return msgspec.structs.replace(options, **placed(flags["store"]))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _bounds(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError as error:
        raise ConfigInvalid(
            f"--bounds {text!r}: give 2 numbers separated by a comma", advice="Like --bounds 0,1."
        ) from error
    return low, high
