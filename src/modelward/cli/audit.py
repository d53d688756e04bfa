"""`modelward audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click
import msgspec

from modelward.cli.show import (
    asked,
    format_option,
    output_option,
    placed,
    show,
    show_witnesses_option,
    store_option,
)
from modelward.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.check import Similarity
    from modelward.verbs.options import AuditOptions


class Flags(TypedDict):
    """What click hands over; null or empty where a flag was not given."""

    data: str | None
    train: str | None
    config: Path | None
    checks: str | None
    norm: str | None
    eps: str | None
    preset: str | None
    similarity: str | None
    bounds: str | None
    label: str | None
    text: str | None
    vectors: str | None
    sensitive: str | None
    immutable: str | None
    factory: str | None
    recommender: str | None
    outputs: str | None
    classes: str | None
    limit: int | None
    budget: str | None
    seed: int | None
    policy: Path | None
    store: str | None
    fresh: bool
    form: str
    output: Path | None
    save_witnesses: Path | None
    show_witnesses: int | None


_EPILOG = """\b
Examples:
  modelward audit model.onnx --data test.npz
  modelward audit fraud.txt --data test.csv.gz --train train.csv.gz --label fraud
  modelward audit net.pt --factory model:build --data test.npz --norm linf --eps 0.05
  modelward audit model.onnx --data test.npz --checks evasion --norm linf --eps 0.1,0.2 --preset thorough
  modelward audit --factory rec:build --data ratings.csv --recommender user,item,rating
  modelward audit --config modelward.toml --format html --output report.html --show-witnesses 6
"""
_FILE = click.Path(path_type=Path, dir_okay=False)
_HELP = "`modelward audit --help` shows every flag with an example."


@click.command(epilog=_EPILOG)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", help="Samples: npz (x, y), x.npy,y.npy, csv, csv.gz or parquet.")
@click.option("--train", help="Training samples; adds membership leakage and training ranges.")
@click.option(
    "--config", type=_FILE, help="Configuration file.  [default: ./modelward.toml when no MODEL is given]"
)
@click.option("--checks", help="Dotted prefixes of the checks to run, like evasion,quality.  [default: all]")
@click.option("--norm", help="Norms of the evasion checks: linf, l2, l1, l0, patch.  [default: linf,l2]")
@click.option("--eps", help="Radii in the box's unit, like 0.03,0.1.  [default: by kind of data]")
@click.option(
    "--preset",
    help="How hard attacks and proofs try: quick (a first look), standard (AutoAttack's methods, the dear "
    "ones where points nearly fall) or thorough (adds branch and bound; many times as long).  "
    "[default: standard]",
)
@click.option(
    "--similarity",
    help="What a changed text must keep, like levenshtein=0.9,cosine=0.8; see docs/checks.md.",
)
@click.option("--bounds", help="The box of inputs, like 0,1.  [default: inferred]")
@click.option("--label", help="Label column of a table.")
@click.option("--text", help="Column of texts, where that is what the model reads.  [default: detected]")
@click.option("--vectors", help="Word vectors (npz or txt); adds attacks that replace words.")
@click.option("--sensitive", help="Columns that groups are formed by.")
@click.option("--immutable", help="Columns that an attacker cannot change.")
@click.option(
    "--factory",
    help="package.module:function that builds the torch module or the recommender. It is imported and run.",
)
@click.option(
    "--recommender",
    help="Columns of users, items and ratings, like user,item,rating, where --factory builds a recommender.",
)
@click.option("--outputs", help="logits, probabilities, labels, logit or probability.  [default: detected]")
@click.option("--classes", help="Class labels in the order of the outputs.  [default: detected]")
@click.option("--limit", type=int, help="Points that are attacked and certified.  [default: 200]")
@click.option("--budget", help="Seconds, passes, queries, like 60s,1e6p,5000q.  [default: unlimited]")
@click.option("--seed", type=int, help="The only source of randomness.  [default: 0]")
@click.option("--policy", type=_FILE, help="Requirements, as TOML.  [default: the built-in baseline]")
@store_option
@click.option("--fresh", is_flag=True, help="Start over instead of continuing.")
@format_option
@output_option
@show_witnesses_option
@click.option(
    "--save-witnesses",
    type=_FILE,
    help="Write all adversarial examples there (npz: index, x, original, label, prediction, ...).",
)
def command(model: Path | None, **flags: Unpack[Flags]) -> int:
    """Run the checks on MODEL and say how it stands against a policy.

    The evidence goes to the ledger in .modelward; a killed audit continues where it was, and a finished
    check is not repeated. Flags win over the configuration file.
    """
    from modelward.cli.progress import observer
    from modelward.reporting.text import clean
    from modelward.verbs.audit import audit
    from modelward.verbs.witnesses import save_witnesses

    chosen, data, options = _merge(model, flags)
    options = msgspec.structs.replace(options, command=click.get_current_context().obj)
    with observer() as watcher:
        result = audit(chosen, data, options, observer=watcher)
    if flags["save_witnesses"] is not None:
        count = save_witnesses(result, options.store, flags["save_witnesses"])
        click.echo(clean(f"{count} witnesses written to {flags['save_witnesses']}"), err=True)
    shown = asked(result, options.store, flags["show_witnesses"])
    return show(result, flags["form"], flags["output"], shown)


def _merge(model: Path | None, flags: Flags) -> tuple[Path | None, str | None, AuditOptions]:
    from modelward.verbs.config import FILE_NAME, read_config, read_policy
    from modelward.verbs.options import AuditOptions

    config = flags["config"]
    if config is None and model is None and Path(FILE_NAME).is_file():
        config = Path(FILE_NAME)
    options, data = AuditOptions(import_from=Path.cwd()), None
    if config is not None:
        plan = read_config(config)
        model, data, options = model or plan.model, plan.data, plan.options
    if model is None and not (flags["recommender"] or options.recommender):
        raise ConfigInvalid(
            "no model was named", advice="Give MODEL, or run `modelward init` and set path under [model]."
        )
    policy = flags["policy"]
    stated: dict[str, object] = {
        "train": flags["train"],
        "label": flags["label"],
        "text": flags["text"],
        "vectors": flags["vectors"],
        "sensitive": _words(flags["sensitive"]),
        "immutable": _words(flags["immutable"]),
        "bounds": _numbers("--bounds", flags["bounds"], 2),
        "factory": flags["factory"],
        "recommender": _words(flags["recommender"]),
        "outputs": flags["outputs"],
        "classes": _words(flags["classes"]),
        "checks": _words(flags["checks"]),
        "norm": _words(flags["norm"]),
        "eps": _numbers("--eps", flags["eps"]),
        "preset": flags["preset"],
        "similarity": _floors(flags["similarity"], options.similarity),
        "limit": flags["limit"],
        "budget": flags["budget"],
        "seed": flags["seed"],
        "policy": None if policy is None else read_policy(policy),
        **placed(flags["store"]),
        "fresh": flags["fresh"] or None,
    }
    given = {key: value for key, value in stated.items() if value is not None}
    options = msgspec.structs.replace(options, **given)
    _require_known("--norm", options.norm, ("linf", "l2", "l1", "l0", "patch"))
    _require_known("--preset", (options.preset,), ("quick", "standard", "thorough"))
    outputs = ("logits", "probabilities", "labels", "logit", "probability")
    _require_known("--outputs", (options.outputs,) if options.outputs else (), outputs)
    return model, data if flags["data"] is None else flags["data"], options


def _floors(text: str | None, known: Similarity) -> Similarity | None:
    """What is stated replaces what the configuration says, floor by floor."""
    if text is None:
        return None
    floors = known
    for word in text.split(","):
        name, _, number = (part.strip() for part in word.partition("="))
        try:
            floors = msgspec.structs.replace(floors, **{name: float(number)})
        except (ValueError, TypeError) as error:
            names = ", ".join(known.__struct_fields__)
            raise ConfigInvalid(
                f"--similarity {word!r}: give name=number, the name one of {names}", advice=_HELP
            ) from error
    return floors


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(flag: str, text: str | None, count: int | None = None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise ConfigInvalid(f"{flag} {text!r}: give numbers separated by commas", advice=_HELP) from error
    if count is not None and len(numbers) != count:
        raise ConfigInvalid(f"{flag} {text!r}: give {count} numbers separated by a comma", advice=_HELP)
    return numbers


def _require_known(flag: str, given: Sequence[str], known: Sequence[str]) -> None:
    for word in given:
        if word not in known:
            raise ConfigInvalid(f"{flag} {word!r}: give one of {', '.join(known)}", advice=_HELP)
