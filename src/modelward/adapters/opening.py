"""Open a model together with the data it is examined on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from modelward.adapters.data import with_training_range
from modelward.adapters.loading import SANDBOXED, TORCH, load_runtime
from modelward.adapters.models import DifferentiableModel, RuntimeModel, TreeModel, within
from modelward.adapters.outputs import OutputOptions, Reading, read_outputs
from modelward.adapters.pairing import fit_features, fit_labels, name_classes
from modelward.adapters.runtime import Facts, Grown, Runtime, RuntimeSpec
from modelward.core.subject import Subject, named
from modelward.errors import (
    ExtraMissing,
    FileDamaged,
    InputError,
    ModelNonFinite,
    ModelRaised,
    OperatorUnsupported,
    ShapeMismatch,
    UnsafeArtifact,
)

if TYPE_CHECKING:
    from torch import nn

    from modelward.adapters.examine import Examined
    from modelward.artifact.verdict import ArtifactReport
    from modelward.core.check import Need
    from modelward.core.data import Dataset
    from modelward.core.model import Model

_FIRST = 16
"""Unmodified samples that are asked before anything is measured."""
_TEXTS = (
    "The data is texts, one str a sample: give a model that takes them, or leave --text out: a table of "
    "numbers and texts goes to models of tables as it is."
)


class ModelOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user states about the model.

    Attributes:
        factory: ``package.module:function`` that builds the torch module for a weights file.
        import_from: folder that the factory's module may be imported from.
        outputs: meaning of the outputs and class order.
        name: what a live object is called.
        seconds: how long the first answers to unmodified samples may take, above 0.
        gradients: whether a differentiable copy is wanted; making one costs the import of torch.
    """

    factory: str | None = None
    import_from: str | None = None
    outputs: OutputOptions = OutputOptions()
    name: str | None = None
    seconds: float = 60.0
    gradients: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model and data that fit each other.

    Attributes:
        model: the model, or null when it was not opened.
        data: samples, aligned to the model's columns and classes.
        train: training samples, likewise.
        absent: why something that checks may need is not there.
    """

    model: Model | None = None
    data: Dataset | None = None
    train: Dataset | None = None
    absent: dict[Need, str] = field(default_factory=dict)


def open_file(
    path: Path, examined: Examined, data: Dataset | None, train: Dataset | None, options: ModelOptions
) -> Opened:
    """Open a model file.

    Args:
        path: the file.
        examined: what static inspection said of it; a dangerous file is not opened, and one whose loading can
            run code is opened in the sandbox alone, after an inert verdict on the very bytes that are loaded.
        data: samples to examine it on; without any, the model is not opened.
        train: samples it was trained on.
        options: what the user states.

    Raises:
        ModelwardError: it cannot be opened, does not fit the data, or fails on unmodified samples.
    """
    if data is None:
        return Opened(
            train=train, absent={"model": "no data was given (--data), so the model was not opened"}
        )
    try:
        _refuse_unsafe(path, examined.report)
    except UnsafeArtifact as error:
        return Opened(data=data, train=train, absent={"model": f"the model was not opened: {error}"})
    data = _aligned(data, train)
    spec = RuntimeSpec(
        path=str(path.absolute()),
        format=examined.report.format,
        digest=examined.digest,
        beside=tuple(map(str, examined.beside)),
        factory=options.factory,
        import_from=options.import_from,
        categories={c.name: list(c.categories) for c in data.columns if c.categories},
    )
    subject = Subject(kind="model", name=named(path), digest=examined.whole, format=spec.format)
    runtime = _runtime(spec)
    examined.require_unchanged(path)
    return _pair(runtime, spec, subject, (data, train, options))


def open_live(model: object, data: Dataset, train: Dataset | None, options: ModelOptions) -> Opened:
    """Open a live object; its identity is asserted.

    Raises:
        ModelwardError: as for `open_file`.
    """
    from modelward.adapters.live import live_runtime, live_subject

    data = _aligned(data, train)
    runtime, kind = live_runtime(model, {c.name: c.categories for c in data.columns if c.categories})
    given = (data, train, options)
    return _pair(runtime, None, live_subject(model, kind, options.name), given)


def _aligned(data: Dataset, train: Dataset | None) -> Dataset:
    """Codes, labels and eps units of the training set, before anything depends on them."""
    if len(data) == 0:
        raise ShapeMismatch(f"{data.subject.name}: has no rows to examine the model on")
    return data if train is None else with_training_range(data, train)


def _require_codes(data: Dataset, train: Dataset | None, facts: Facts) -> str:
    """How texts become the numbers that a model without a dictionary of its own takes; empty without texts.

    Raises:
        InputError: nothing but the examined file would fix the numbers, and a text that it lacks would shift
            all that follow.
    """
    texts = [column.name for column in data.columns if column.kind == "category"]
    if not texts or facts.texts:
        return ""
    if train is None:
        raise InputError(
            f"column {texts[0]!r} holds texts, the model takes numbers, and nothing says which is which",
            advice="Give --train, whose sorted texts then fix the numbers, or encode as the training did.",
        )
    return f"{', '.join(texts[:20])}: position in the sorted texts of the training data"


def _runtime(spec: RuntimeSpec) -> Runtime:
    if spec.format in SANDBOXED:
        from modelward.adapters.remote import RemoteRuntime

        return RemoteRuntime(spec)
    return load_runtime(spec)


def _refuse_unsafe(path: Path, report: ArtifactReport) -> None:
    if report.verdict == "dangerous":
        raise UnsafeArtifact(f"{path}: loading it would run a payload")
    if report.format in SANDBOXED and report.format != "skops" and report.verdict != "inert":
        raise UnsafeArtifact(f"{path}: loading it is {report.verdict}, not proven inert")


def _pair(
    runtime: Runtime,
    spec: RuntimeSpec | None,
    subject: Subject,
    given: tuple[Dataset, Dataset | None, ModelOptions],
) -> Opened:
    data, train, options = given
    data = fit_features(data, runtime.facts)
    train = None if train is None else fit_features(train, runtime.facts)
    coded = _require_codes(data, train, runtime.facts)
    first = data.x[:_FIRST].copy()
    # A sandboxed process has its own clock.
    watched = spec is None or spec.format not in SANDBOXED
    try:
        raw = within(options.seconds, runtime, first) if watched else runtime.raw(first)
    except ModelRaised as error:
        if not data.textual:
            raise
        raise ModelRaised(str(error), advice=_TEXTS) from error
    if raw.dtype.kind in "fc" and not np.isfinite(raw).all():
        raise ModelNonFinite(f"{subject.name}: answers NaN or an infinity to unmodified rows")
    reading = read_outputs(raw, len(first), runtime.facts, options.outputs)
    classes = name_classes(reading, runtime.facts, options.outputs.classes, data.labels)
    data = fit_labels(data, classes)
    train = fit_labels(train, classes) if train is not None else None
    described = msgspec.structs.replace(
        subject,
        details={
            **subject.details,
            "outputs": reading.statement,
            "outputs_known_from": reading.origin,
            "classes": list(classes[:100]),
            "sample_shape": list(data.x.shape[1:]),
            "takes_missing": runtime.facts.missing,
            **({"factory": options.factory} if options.factory else {}),
            **({"texts_numbered": coded} if coded else {}),
        },
    )
    model = RuntimeModel(described, runtime, reading, classes=classes, spec=spec)
    model.scores(first)  # a label outside the classes shows here, not in the middle of a check
    copy, reason = (
        _differentiable(model, reading, data) if options.gradients else (None, "none was asked for")
    )
    absent: dict[Need, str] = {} if copy is not None else {"gradients": reason}
    if copy is not None:
        return Opened(model=copy, data=data, train=train, absent=absent)
    trees, why = _trees(model, data)
    absent |= {} if trees is not None else {"trees": f"no trees: {why}"}
    return Opened(model=trees or model, data=data, train=train, absent=absent)


def _trees(model: RuntimeModel, data: Dataset) -> tuple[TreeModel | None, str]:
    """The model's trees where they answer as it does, else the reason why there are none."""
    if data.textual:
        return None, "a model of texts is not read as one"
    from modelward.adapters.trees.faithful import require_faithful

    runtime = model.runtime
    try:
        if model.subject.format == "onnx" and model.spec is not None:
            from modelward.adapters.trees.onnx_trees import read_file

            forest = read_file(Path(model.spec.path))
        elif isinstance(runtime, Grown):
            forest = runtime.forest()
        else:
            return None, f"{model.subject.format} models have none that are read"
        require_faithful(forest, model, data)
    except (ExtraMissing, FileDamaged, OperatorUnsupported) as error:
        return None, str(error)
    return TreeModel(model, forest), ""


def _differentiable(
    model: RuntimeModel, reading: Reading, data: Dataset
) -> tuple[DifferentiableModel | None, str]:
    """A differentiable copy where there is an honest one, else the reason why not."""
    if data.textual:
        return None, "texts have no gradients"
    format_ = model.subject.format
    if format_ in TORCH or format_ == "torch-module":
        from modelward.adapters.runtimes.torch_module import TorchRuntime

        assert isinstance(model.runtime, TorchRuntime)  # noqa: S101  (loading.py: these formats have this runtime)
        return DifferentiableModel(model, _columns(model.runtime.module, reading.statement), 0.0), ""
    if format_ != "onnx" or model.spec is None:
        return None, f"{format_} models have no gradients"
    try:
        from modelward.adapters.onnx_import.importer import import_onnx

        samples = np.asarray(data.x[:64], dtype=np.float32)
        imported = import_onnx(Path(model.spec.path), samples=samples)  # asks for torch, which AnyBatch needs
        from modelward.adapters.batches import AnyBatch

        statement = reading.statement
        if statement == "probability" and imported.tail == "sigmoid":
            statement = "logit"
        size = imported.input_shape[0]
        module = imported.module if size is None else AnyBatch(imported.module, size)
        return DifferentiableModel(model, _columns(module, statement), imported.tolerance), ""
    except (ExtraMissing, OperatorUnsupported, ModelRaised) as error:
        return None, f"no differentiable copy: {error}"


def _columns(module: nn.Module, statement: str) -> nn.Module:
    if statement not in {"logit", "probability"}:
        return module
    from modelward.adapters.columns import TwoColumns

    return TwoColumns(module, probability=statement == "probability").eval()
