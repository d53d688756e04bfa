"""The verb `init`: a commented configuration for the files that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelward.adapters.loading import BOOSTERS, SANDBOXED, TORCH
from modelward.artifact.verdict import inspect
from modelward.errors import ConfigInvalid, FileDamaged, FileMissing, FormatUnknown, OutputUnwritable
from modelward.ledger.blobs import write_atomically
from modelward.verbs.config import FILE_NAME

if TYPE_CHECKING:
    from pathlib import Path

_MODELS = {"onnx"} | TORCH | BOOSTERS | SANDBOXED
_DATA = {"npz", "npy", "csv", "csv-compressed", "parquet"}
_TEMPLATE = """\
# modelward.toml: what `modelward audit` examines here, and what it must show.
# Every value that is commented out is the default. Unknown keys are errors.

[model]
{model}
# factory = "package.module:function"  # builds the torch module for a state_dict or safetensors file
# outputs = "probabilities"            # logits | probabilities | labels | logit | probability; detected
# classes = ["no", "yes"]              # in the order of the model's outputs; detected

[data]
{data}
{train}
# label = "y"                          # label column of a table
# text = "message"                     # the column of texts, where that is what the model reads
# vectors = "vectors.txt"              # word vectors, to replace words by others that mean the same
# sensitive = []                       # columns that groups are formed by
# immutable = []                       # columns that an attacker cannot change
# bounds = [0.0, 1.0]                  # the box of inputs, the same for every feature; inferred

# [data.constraints]                   # what an attacker cannot do to a row of a table
# up = ["age"]                         # can only grow; likewise down
# cost = {{ income = 2.0 }}              # a change counts twice
# relations = ["total = a + b"]        # also <=; a name that is no word stands in backquotes

[audit]
# checks = []                          # dotted prefixes such as "evasion"; empty runs all
# norm = ["linf", "l2"]                # also l1, l0 (pixels or features), patch (share of the area)
# preset = "standard"                  # quick | standard | thorough
# eps = []                             # radii in the box's unit; empty uses the defaults for the kind of data
# limit = 200                          # points that are attacked and certified
# budget = "60s,1e6p,5000q"            # seconds, passes, queries; unlimited
# seed = 0

# [audit.similarity]                   # what a changed text must keep, from 0 to 1
# levenshtein = 0.8                    # 1 - edits / length of the longer text
# trigrams = 0.5                       # share of common character trigrams
# cosine = 0.7                         # between a word and what replaces it

# What stands here is the built-in baseline, which also applies without this table.
[policy]
max-severity = "medium"                # info | low | medium | high | critical
required-checks = ["quality", "evasion", "robustness"]

[[policy.require]]
claim = "robust-accuracy"              # accuracy, membership-auc, group-gap, load-is-inert, ...
min-n = 50                             # points it must rest on
# at-least = 0.6                       # shares: 0.6, not 60
# scope = {{ norm = "linf" }}
"""


def init(folder: Path, *, overwrite: bool = False) -> tuple[Path, list[str]]:
    """Write `modelward.toml` with secure defaults for the files in a folder.

    Args:
        folder: where to look and write.
        overwrite: replace an existing file.

    Returns:
        The file, and one line per model or data file that was recognised.

    Raises:
        ConfigInvalid: there is one already.
        FileMissing: there is no such folder.
        OutputUnwritable: it cannot be written.
    """
    if not folder.is_dir():
        raise FileMissing(f"{folder}: is not a folder")
    path = folder / FILE_NAME
    if path.exists() and not overwrite:
        raise ConfigInvalid(f"{path}: is there already", advice="Edit it, or replace it with --force.")
    models, data = _recognise(folder)
    # Held-out data is what a model should be judged on; what it was trained on has its own key.
    training = [item for item in data if "train" in item[0].lower()] if len(data) > 1 else []
    train = _line(training, "train.npz").replace("path = ", "train = ", 1)
    held_out = [item for item in data if item not in training] or data
    text = _TEMPLATE.format(model=_line(models, "model.onnx"), data=_line(held_out, "test.npz"), train=train)
    try:
        write_atomically(path, text.encode(), mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})") from error
    return path, [f"{name} ({form})" for name, form in models + data]


def _recognise(folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    models: list[tuple[str, str]] = []
    data: list[tuple[str, str]] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if not path.name.isprintable():  # a line break in a name would write lines of configuration
            continue
        try:
            form = inspect(path).format
        except (FileDamaged, FileMissing, FormatUnknown):
            continue
        if form in _MODELS:
            models.append((path.name, form))
        elif form in _DATA:
            data.append((path.name, form))
    data.sort(key=lambda item: "train" in item[0].lower())
    return models, data


def _line(found: list[tuple[str, str]], example: str) -> str:
    if not found:
        return f'# path = "{example}"'
    first, *others = found
    name = first[0].replace("\\", "\\\\").replace('"', '\\"')
    also = f"  # {first[1]}" + (f"; also here: {', '.join(n for n, _ in others[:5])}" if others else "")
    return f'path = "{name}"{also}'
