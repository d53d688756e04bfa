"""The verb `harden`: audit, apply a defence, audit again on the same points, put both side by side."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from modelward.core.budget import Budget, Meter
from modelward.core.catalogue import CheckEntry
from modelward.core.evidence import to_json
from modelward.engine.outcome import CheckRun
from modelward.errors import ConfigInvalid, ExtraMissing, OperatorUnsupported, OutputUnwritable, ShapeMismatch
from modelward.ledger.blobs import write_atomically
from modelward.ledger.store import Ledger
from modelward.reporting.comparison import Comparison, Detector, to_html, to_json_bytes
from modelward.threats.evasion.arena import differentiable
from modelward.threats.evasion.harden.detectors.control import Detecting, DetectorControl, Kind, judged
from modelward.threats.evasion.harden.methods import METHODS, Training
from modelward.threats.evasion.harden.methods import settled as settled_training
from modelward.threats.evasion.harden.text import NormalisationControl, Normalised, written
from modelward.threats.evasion.trees.check import ensemble
from modelward.verbs.audit import audit, open_subjects
from modelward.verbs.options import AuditOptions, settled
from modelward.verbs.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from modelward.core.check import Need, Subjects
    from modelward.core.control import Control, Hardened
    from modelward.core.evidence import Evidence
    from modelward.engine.run import Observer

WEIGHTS = "model.safetensors"
CHECKPOINT = "training.checkpoint"
_CHECKS = ("quality", "evasion")
_NO_MODULE = ("trees", "normalise")
_WANTED = {
    "trees": "Give a classifier of trees, as a file or live, with --train.",
    "normalise": "Give a model of texts, and --text with the column of the texts.",
}
_SHIELDED = "A model of texts is hardened by --method normalise."
_MORE = "Give more training data with --train, complete and of every class."
_WANTED_ELSE = "Give a weights file (safetensors or state_dict) with --factory, or a live torch module."


class HardenOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a hardening besides the model and the data.

        HardenOptions(training=Training(method="trades", eps=0.3), audit=AuditOptions(train="train.npz"))

    Attributes:
        training: the method and its numbers.
        audit: of the model before and after; ``train`` is what the defence may look at and must be given,
            norm and eps are those of the training, whatever is said here. Without checks: accuracy and
            evasion.
        output: folder for the weights, the comparison and the checkpoint; made when absent.
        minutes: CPU minutes the defence may take, all threads together; null: as many as its epochs need. A
            schedule that does not fit is shortened.
        onnx: whether to write the hardened model as ONNX too.
        detectors: to fit in front of the hardened model and to attack: ``squeezing``, ``mahalanobis``,
            ``neighbours``, ``consistency``.
    """

    training: Training
    audit: AuditOptions = AuditOptions()
    output: Path = Path("hardened")
    minutes: float | None = None
    onnx: bool = False
    detectors: tuple[Kind, ...] = ()


def harden(
    model: str | Path | object,
    data: str | Path | object,
    options: HardenOptions,
    *,
    observer: Observer | None = None,
) -> Comparison:
    """Apply a defence to a model, and measure what that changed.

        modelward.harden("net.pt", "test.npz", modelward.HardenOptions(
            training=modelward.Training(method="trades", eps=0.1),
            audit=modelward.AuditOptions(train="train.npz", factory="net:build")))

    The model that is given stays as it is. The audits use the same points of `data`, which the defence never
    sees; it looks at the training data alone.

    Args:
        model: weights file with a factory, or a live torch module; for ``trees`` any
            classifier of trees and for ``normalise`` any model of texts that `audit` takes.
        data: samples to audit on, as for `audit`.
        options: everything else.
        observer: told about progress.

    Returns:
        The comparison; ``result.rows`` is the table. Its files are in ``options.output``.

    Raises:
        ModelwardError: the job could not be done; see `modelward.errors`.
    """
    training, watcher = settled_training(options.training), observer or Quiet()
    chosen = _audited(options.audit, training)
    _require_possible(options, training, chosen)
    controls = [DetectorControl(_detecting(kind, training, chosen)) for kind in options.detectors]
    folder = _folder(options.output)
    before = audit(model, data, chosen, observer=watcher)
    settled = msgspec.structs.replace(options, audit=chosen, training=training)
    made = _apply(model, data, settled, watcher)
    files, subject, again = _kept(model, made, folder, chosen)
    if options.onnx:
        files["onnx"] = str(_exported(made, folder, chosen, data))
    after = audit(subject, data, again, observer=watcher)
    detected = _detect(subject, data, again, controls=controls)
    _record(chosen.database or chosen.store, [made.evidence, *detected])
    files |= {"comparison": str(folder / "comparison.json"), "page": str(folder / "comparison.html")}
    found = Comparison(
        method=training.method,
        before=before,
        after=after,
        defence=made.evidence,
        files=files,
        detectors=tuple(shown for item in detected for shown in _shown(item)),
    )
    for name, content in (("json", to_json_bytes(found)), ("html", to_html(found).encode())):
        _write(folder / f"comparison.{name}", content)
    return found


def _require_possible(options: HardenOptions, training: Training, chosen: AuditOptions) -> None:
    """Refuse choices that no model could satisfy.

    Raises:
        ConfigInvalid: naming the choice.
    """
    if options.minutes is not None and not 0 < options.minutes < float("inf"):
        raise ConfigInvalid(
            f"harden: minutes is {options.minutes:g}, and must be above 0 and finite",
            advice="Change --minutes, or leave it out for no limit.",
        )
    if chosen.train is None and training.method != "normalise":
        raise ConfigInvalid("no training data was given", advice="Give --train: the defence learns from it.")
    if training.method in _NO_MODULE and (options.onnx or options.detectors):
        raise ConfigInvalid(
            f"{training.method} makes no torch module, for ONNX or for detectors",
            advice="Leave --onnx and --detectors out.",
        )


def _audited(options: AuditOptions, training: Training) -> AuditOptions:
    """The options of both audits: the threat that is trained against, and the checks that speak of it."""
    norm = "l2" if training.method == "noise" else training.norm
    chosen = msgspec.structs.replace(
        options, norm=(norm,), eps=(training.eps,), checks=options.checks or _CHECKS, command=None
    )
    return settled(chosen)


def _apply(model: object, data: object, options: HardenOptions, watcher: Observer) -> Hardened:
    opening = options.audit if options.training.method in _NO_MODULE else _with_gradients(options.audit)
    subjects, absent = open_subjects(model, data, opening, seconds=None, watcher=watcher)
    control = _control(subjects, options)
    reason = control.declines(subjects)
    if reason is not None:
        need: Need = "trees" if options.training.method == "trees" else "gradients"
        why = absent.get(need) or absent.get("model")
        raise ShapeMismatch(
            f"{options.training.method} cannot harden this model: {reason}" + (f" ({why})" if why else ""),
            advice=_wanted(options.training.method, subjects),
        )
    entry = CheckEntry(id=control.id, path="", summary=METHODS[options.training.method], needs=(), feeds=())
    watcher.started(entry)
    limit = Budget(seconds=None if options.minutes is None else 60 * options.minutes)
    # CPU time means the same on a busy machine.
    meter = Meter(limit, clock=time.process_time, observe=watcher.progress)
    made = control.apply(subjects, budget=meter, seed=options.audit.seed)
    watcher.ended(
        CheckRun(
            check=control.id,
            summary=entry.summary,
            state="finished" if made.evidence.cut is None else "cut",
            cut=made.evidence.cut,
            cost=made.evidence.cost,
            evidence=(made.evidence,),
        )
    )
    return made


def _wanted(method: str, subjects: Subjects) -> str:
    """What to give instead of a model or data that a method declines."""
    if _textual(subjects):
        return _SHIELDED
    fits = ensemble(subjects.model) if method == "trees" else differentiable(subjects.model)
    return _MORE if fits is not None and method != "normalise" else _WANTED.get(method, _WANTED_ELSE)


def _textual(subjects: Subjects) -> bool:
    return subjects.data is not None and subjects.data.textual


def _control(subjects: Subjects, options: HardenOptions) -> Control:
    """The defence that the method names."""
    if options.training.method == "normalise":
        return NormalisationControl()
    if options.training.method == "trees":
        from modelward.threats.evasion.harden.trees.control import TreeControl

        if find_spec("xgboost") is None:  # runs what is grown
            raise ExtraMissing("xgboost", "trees")
        return TreeControl(options.training)
    from modelward.threats.evasion.harden.training import TrainingControl

    _require_weights(subjects)
    return TrainingControl(options.training, options.output / CHECKPOINT)


def _kept(
    model: object, hardened: Hardened, folder: Path, chosen: AuditOptions
) -> tuple[dict[str, str], object, AuditOptions]:
    """Write what was made; give the files, what the audit afterwards looks at, and its options."""
    from modelward.threats.evasion.harden.trees.control import RobustTrees

    if isinstance(hardened.model, Normalised):
        path = folder / "normaliser.json"
        _write(path, written(hardened.model.defences))
        outputs = hardened.model.outputs
        labels = outputs.kind == "labels"
        subject = hardened.model.labels if labels else hardened.model
        again = msgspec.structs.replace(
            chosen, classes=outputs.classes, outputs=None if labels else outputs.kind, factory=None
        )
        return {"normaliser": str(path)}, subject, again
    if isinstance(hardened.model, RobustTrees):
        path = folder / "model.json"
        _write(path, hardened.model.document)
        # The file numbers its classes; their names are those of the model that was given.
        again = msgspec.structs.replace(chosen, classes=hardened.model.classes, outputs=None, factory=None)
        return {"trees": str(path)}, path, again
    path = _written(hardened, folder)
    return {"weights": str(path)}, path if isinstance(model, str | Path) else hardened.model, chosen


def _with_gradients(options: AuditOptions) -> AuditOptions:
    """Open the differentiable copy, whether the audits need it or not."""
    return msgspec.structs.replace(options, checks=("evasion.gradient",))


def _require_weights(subjects: Subjects) -> None:
    """Weights that came from a file without an architecture cannot be given back in its form."""
    if subjects.model is not None and subjects.model.subject.format == "onnx":
        raise ShapeMismatch(
            "an ONNX file is not trained: it says nothing about how it was built",
            advice="Give the weights it was exported from, with --factory; --onnx writes the result as ONNX.",
        )


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be made ({error.strerror})") from error
    return path


def _module(made: Hardened) -> nn.Module:
    return cast("nn.Module", made.model)  # training gives a copy of the module it was given


def _written(made: Hardened, folder: Path) -> Path:
    """The weights as safetensors."""
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ExtraMissing("safetensors", "torch") from error
    weights = {name: tensor.contiguous().clone() for name, tensor in _module(made).state_dict().items()}
    _write(folder / WEIGHTS, save(weights))
    return folder / WEIGHTS


def _exported(made: Hardened, folder: Path, options: AuditOptions, data: object) -> Path:
    """The model as ONNX, with a batch of any size."""
    import tempfile
    import warnings

    import torch

    subjects, _ = open_subjects(made.model, data, options, seconds=None, watcher=Quiet())
    if subjects.data is None:
        raise AssertionError("an audit was made on data")
    example = torch.from_numpy(subjects.data.x[:1]).to(torch.float32)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=folder) as scratch:
        warnings.simplefilter("ignore")  # torch's own notes about its exporter
        path = Path(scratch, "model.onnx")
        try:
            torch.onnx.export(
                _module(made),
                (example,),
                path,
                dynamo=False,
                input_names=["input"],
                output_names=["scores"],
                dynamic_axes={"input": {0: "n"}, "scores": {0: "n"}},
            )
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise OperatorUnsupported(f"the hardened model cannot be written as ONNX ({said})") from error
        _write(folder / "model.onnx", path.read_bytes())
    return folder / "model.onnx"


def _detecting(kind: Kind, training: Training, options: AuditOptions) -> Detecting:
    return Detecting(kind=kind, norm=training.norm, eps=training.eps, limit=options.limit)


def _detect(
    model: object, data: object, options: AuditOptions, *, controls: Sequence[DetectorControl]
) -> list[Evidence]:
    """Fit each detector in front of the hardened model, and attack both."""
    if not controls:
        return []
    subjects, _ = open_subjects(model, data, _with_gradients(options), seconds=None, watcher=Quiet())
    clock = time.process_time
    return [c.apply(subjects, budget=Meter(clock=clock), seed=options.seed).evidence for c in controls]


def _shown(item: Evidence) -> Iterator[Detector]:
    for found in judged(item):
        yield Detector(
            name=f"{found.kind}, {found.attack} attack",
            n=found.points,
            passed=(found.passed, *found.passed_interval),
            auc=None if found.auc is None or found.auc_interval is None else (found.auc, *found.auc_interval),
            tpr=None if found.tpr is None or found.tpr_interval is None else (found.tpr, *found.tpr_interval),
            fpr=found.fpr,
        )


def _record(store: str | Path, evidence: Sequence[Evidence]) -> None:
    ledger = Ledger.open(store)
    try:
        for item in evidence:
            ledger.append({"kind": "control", "evidence": to_json(item)})
    finally:
        ledger.close()


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})") from error
