"""The verb `audit`: open, plan, run, judge, hold against the policy, record."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.adapters.data import open_data
from modelward.adapters.data.options import DataOptions
from modelward.adapters.examine import Examined, examine
from modelward.adapters.opening import ModelOptions, open_file, open_live
from modelward.adapters.outputs import OutputOptions
from modelward.core.budget import Budget, parse_budget
from modelward.core.catalogue import CLAIMS, check_entry, load_judge
from modelward.core.check import Settings, Similarity, Subjects
from modelward.core.data import Dataset
from modelward.core.finding import Finding, severity_rank
from modelward.core.policy import BASELINE, Policy, judge_policy, validate
from modelward.core.seeds import MAX_SEED
from modelward.core.subject import Subject, named
from modelward.engine.journal import Journal
from modelward.engine.plan import Plan, make_plan, select
from modelward.engine.run import Observer, run_plan
from modelward.errors import ConfigInvalid
from modelward.ledger.blobs import Blobs
from modelward.ledger.store import Ledger
from modelward.reporting.result import AuditResult
from modelward.verbs.options import AuditOptions, settled
from modelward.verbs.quiet import Quiet
from modelward.verbs.sources import factory_digest
from modelward.verbs.store import record
from modelward.verbs.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.core.canonical import JSON
    from modelward.core.check import Need
    from modelward.core.claim import Claim
    from modelward.engine.outcome import CheckRun


_CLASSIFIERS: Final = (
    "train", "label", "text", "vectors", "sensitive", "immutable", "bounds", "constraints", "outputs",
    "classes", "norm", "eps", "similarity", "limit",
)  # fmt: skip
"""Options that no check of recommenders looks at."""


def audit(
    model: str | Path | object | None,
    data: str | Path | object | None = None,
    options: AuditOptions | None = None,
    *,
    observer: Observer | None = None,
) -> AuditResult:
    """Examine a model and say how it stands against a policy.

        modelward.audit("model.onnx", "test.npz")
        modelward.audit(net, (x, y), modelward.AuditOptions(train=(x_train, y_train), eps=(0.1,)))

    Args:
        model: a path, or a live object: torch module, fitted scikit-learn classifier, XGBoost booster, or
            a function from (n, *shape), or a list of n texts, to scores or labels; null: a recommender.
        data: a path (npz, npy pair joined by a comma, csv, csv.gz, parquet), ``(x, y)`` arrays or texts, or a
            table.
        options: everything else.
        observer: told about progress.

    Returns:
        The outcome, also recorded in the ledger. Call ``result.verdict.enforce()`` to stop on refusal.

    Raises:
        ModelwardError: the job could not be done; see `modelward.errors`.
    """
    options = settled(options or AuditOptions())
    settings, budget, policy = _settings(options)
    ledger = Ledger.open(options.database or options.store)
    try:
        watcher = observer or Quiet()
        subjects, absent = open_subjects(model, data, options, seconds=budget.seconds, watcher=watcher)
        plan = make_plan(subjects, settings, prefixes=options.checks, absent=absent)
        fresh = options.fresh or _asserted(subjects)
        journal = Journal(ledger, _identity(subjects, plan, settings, options), fresh=fresh)
        outcomes = run_plan(
            plan, subjects, journal=journal, budget=budget, seed=options.seed, observer=watcher
        )
        claims, findings = judge(outcomes)
        finished, missed = _coverage(plan, outcomes)
        stopped = any(outcome.state == "interrupted" for outcome in outcomes)
        verdict = judge_policy(policy, claims, findings, finished, missed=missed, interrupted=stopped)
        result = AuditResult(
            ledger_head=ledger.head().root,
            run=journal.run,
            seed=options.seed,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=named(options.command or command_line(model, data, options)),
            versions=versions(),
            subjects=_described(subjects),
            claims=verdict.claims,
            findings=findings,
            skipped=plan.skipped,
            checks=outcomes,
            verdict=verdict,
            complete=len(finished) == len(plan.checks),
        )
        return record(journal, ledger, result)
    finally:
        ledger.close()


def _coverage(plan: Plan, outcomes: Sequence[CheckRun]) -> tuple[list[str], dict[str, str]]:
    """Checks that finished whole, and why each other one that applies did not."""
    finished = [outcome.check for outcome in outcomes if outcome.state == "finished"]
    missed = dict.fromkeys(plan.excluded, "was left out by --checks")
    missed |= {entry.id: "was not started" for entry, _ in plan.checks if entry.id not in finished}
    missed |= {o.check: f"was cut short ({o.cut})" for o in outcomes if o.state != "finished"}
    return finished, missed


def judge(outcomes: Sequence[CheckRun]) -> tuple[tuple[Claim, ...], tuple[Finding, ...]]:
    """Derive all claims and findings from what was recorded, worst findings first."""
    claims: list[Claim] = []
    findings: list[Finding] = []
    for entry in CLAIMS:
        evidence = [
            item
            for outcome in outcomes
            if entry.id in check_entry(outcome.check).feeds
            for item in outcome.evidence
        ]
        if evidence:
            judgement = load_judge(entry)(evidence)
            claims.extend(judgement.claims)
            findings.extend(judgement.findings)
    findings.sort(key=lambda finding: (-severity_rank(finding.severity), finding.rule, finding.location))
    return tuple(claims), tuple(findings)


def command_line(model: object, data: object | None, options: AuditOptions) -> str:
    """The command that repeats an audit; live objects stand as placeholders in angle brackets."""
    words = ["modelward", "audit", *([] if model is None else [_name(model, "<live model>")])]
    words += [] if data is None else ["--data", _name(data, "<live data>")]
    words += [] if options.train is None else ["--train", _name(options.train, "<live data>")]
    for flag, value in (
        ("--label", options.label),
        ("--text", options.text),
        ("--vectors", options.vectors),
        ("--sensitive", ",".join(options.sensitive)),
        ("--immutable", ",".join(options.immutable)),
        ("--bounds", ",".join(repr(b) for b in options.bounds or ())),
        ("--factory", options.factory),
        ("--recommender", ",".join(options.recommender)),
        ("--outputs", options.outputs),
        ("--classes", ",".join(options.classes)),
        ("--checks", ",".join(options.checks)),
        ("--norm", ",".join(options.norm)),
        ("--eps", ",".join(repr(e) for e in options.eps)),
        ("--preset", options.preset),
        ("--similarity", _floors(options.similarity)),
        ("--limit", str(options.limit)),
        ("--budget", options.budget),
        ("--seed", str(options.seed)),
    ):
        words += [flag, value] if value else []
    return shlex.join(words)


def _floors(similarity: Similarity) -> str:
    """What differs from the usual, as the flag has it."""
    usual = Similarity()
    stated = [name for name in usual.__struct_fields__ if getattr(similarity, name) != getattr(usual, name)]
    return ",".join(f"{name}={getattr(similarity, name)!r}" for name in stated)


def _asserted(subjects: Subjects) -> bool:
    """Whether earlier numbers may be of another model: what only a name identifies can have changed since."""
    return subjects.model is not None and subjects.model.subject.identity == "asserted"


def _settings(options: AuditOptions) -> tuple[Settings, Budget, Policy]:
    if not 0 <= options.seed < MAX_SEED:
        raise ConfigInvalid(f"the seed {options.seed} is not in 0 <= seed < 2**53", advice="Like --seed 0.")
    if not 1 <= options.limit < MAX_SEED:
        raise ConfigInvalid(
            f"the limit of points is {options.limit}, and must be at least 1 and below 2**53",
            advice="Like --limit 200.",
        )
    if any(not 0 < eps < float("inf") for eps in options.eps):
        raise ConfigInvalid("every eps must be above 0 and finite", advice="Like --eps 0.05,0.1.")
    if not options.norm:
        raise ConfigInvalid(
            "at least one norm is needed: linf, l2, l1, l0 or patch", advice="Like --norm linf,l2."
        )
    if "l0" in options.norm and any(eps != int(eps) for eps in options.eps):
        raise ConfigInvalid(
            "an eps of the norm l0 counts pixels or features and must be a whole number",
            advice="Give --norm l0 in a run of its own, with --eps 1,5 for example.",
        )
    if "patch" in options.norm and any(eps > 1 for eps in options.eps):
        raise ConfigInvalid(
            "an eps of a patch is a share of the image's area, and must be at most 1",
            advice="Give --norm patch in a run of its own, with --eps 0.02,0.05 for example.",
        )
    for name, floor in msgspec.structs.asdict(options.similarity).items():
        if not 0 <= floor <= 1:
            raise ConfigInvalid(
                f"the similarity {name} is {floor}, and must be from 0 to 1",
                advice=f"Like --similarity {name}=0.8.",
            )
    # Said twice, a norm or an eps is still one question.
    norms, eps = tuple(dict.fromkeys(options.norm)), tuple(dict.fromkeys(options.eps))
    settings = Settings(norms=norms, eps=eps, limit=options.limit, preset=options.preset)
    settings = msgspec.structs.replace(settings, similarity=options.similarity)
    budget = parse_budget(options.budget) if options.budget else Budget()
    policy = options.policy or BASELINE
    validate(policy, [entry.id for entry in CLAIMS])
    select(options.checks)
    select(policy.required_checks)
    return settings, budget, policy


def open_subjects(
    model: object, data: object | None, options: AuditOptions, *, seconds: float | None, watcher: Observer
) -> tuple[Subjects, Mapping[Need, str]]:
    """Everything to look at, and why what checks may need is not there.

    Args:
        model: as for `audit`.
        data: likewise.
        options: likewise, `settled`.
        seconds: how long the first answers may take; null: a minute.
        watcher: told what is being opened.
    """
    if options.recommender:
        return _recommender(model, data, options, watcher), {"data": "a recommender learns from ratings"}
    stated = DataOptions(
        label=options.label,
        text=options.text,
        vectors=options.vectors,
        sensitive=options.sensitive,
        immutable=options.immutable,
        bounds=options.bounds,
        constraints=options.constraints,
    )
    model_options = ModelOptions(
        factory=options.factory,
        import_from=None if options.import_from is None else str(options.import_from.absolute()),
        outputs=OutputOptions(outputs=options.outputs, classes=options.classes),
        seconds=min(60.0, seconds or 60.0),
        gradients=any("gradients" in entry.needs for entry in select(options.checks)),
    )
    samples = None if data is None else _data(data, "data", stated, watcher)
    train = None if options.train is None else _data(options.train, "train", stated, watcher)
    watcher.opening("model")
    artifact = None
    if isinstance(model, str | Path):
        examined, artifact = _inspect(Path(model))
        opened = open_file(Path(model), examined, samples, train, model_options)
    elif samples is None:
        raise ConfigInvalid("a live model can only be examined on data")
    else:
        opened = open_live(model, samples, train, model_options)
    if options.vectors is not None and opened.data is not None and opened.data.vectors is None:
        raise ConfigInvalid(
            f"word vectors were given, and {opened.data.subject.name} was opened without the texts for them",
            advice="Name the column of texts with --text, or leave --vectors out.",
        )
    if options.similarity != Similarity() and opened.data is not None and not opened.data.textual:
        raise ConfigInvalid(
            f"a similarity is asked of changed texts, and {opened.data.subject.name} holds none"
        )
    subjects = Subjects(
        artifact=artifact,
        model=opened.model,
        data=opened.data,
        train=opened.train,
        attachments=Blobs(options.store / "blobs"),
    )
    return subjects, opened.absent


def _recommender(model: object, data: object | None, options: AuditOptions, watcher: Observer) -> Subjects:
    """A recommender and its ratings, which no check of classifiers looks at."""
    from modelward.adapters.recommenders.opening import open_recommender

    if len(options.recommender) != 3:
        raise ConfigInvalid(
            f"--recommender names {len(options.recommender)} columns",
            advice="Name three: of users, items and ratings, like --recommender user,item,rating.",
        )
    if len(set(options.recommender)) != 3:
        twice = max(options.recommender, key=options.recommender.count)
        raise ConfigInvalid(f"--recommender names the column {twice!r} twice, and needs three different ones")
    if model is not None:
        raise ConfigInvalid(
            f"a recommender is built by --factory, so {_name(model, 'a live model')} cannot be the model",
            advice="Leave MODEL out.",
        )
    if not isinstance(data, str | Path):
        raise ConfigInvalid("a recommender needs its ratings", advice="Give --data ratings.csv.")
    plain = AuditOptions()
    named = [name for name in _CLASSIFIERS if getattr(options, name) != getattr(plain, name)]
    if named:
        raise ConfigInvalid(
            f"a recommender is audited with its ratings alone, and {', '.join(named)} would mean nothing",
            advice="Leave them out; --preset, --budget and --seed are what its check listens to.",
        )
    watcher.opening("ratings")
    first, second, third = options.recommender
    import_from = None if options.import_from is None else str(options.import_from.absolute())
    opened = open_recommender(options.factory, import_from, Path(data), (first, second, third))
    return Subjects(recommender=opened, attachments=Blobs(options.store / "blobs"))


def _inspect(path: Path) -> tuple[Examined, tuple[Path, Subject]]:
    examined = examine(path)
    report = examined.report
    subject = Subject(
        kind="artifact",
        name=named(path),
        digest=examined.digest,
        format=report.format,
        details={"loading": report.verdict, "bytes": report.coverage.bytes},
    )
    return examined, (path, subject)


def _data(given: object, name: str, options: DataOptions, watcher: Observer) -> Dataset:
    from modelward.adapters.data import from_arrays

    if isinstance(given, Dataset):
        return given
    watcher.opening(name)
    if isinstance(given, str | Path):
        return open_data(Path(given), options, observe=watcher.progress)
    if isinstance(given, tuple) and len(given) == 2:
        return from_arrays(given[0], given[1], name=name, options=options)
    return from_arrays(given, name=name, options=options)


def _identity(subjects: Subjects, plan: Plan, settings: Settings, options: AuditOptions) -> dict[str, JSON]:
    """Everything that the outcome of the checks depends on; the policy is not part of it."""
    checks: list[JSON] = [[check.id, check.version] for _, check in plan.checks]
    folder = options.import_from or Path.cwd()
    chosen: dict[str, JSON] = {
        "label": options.label,
        "text": options.text,
        "vectors": None if subjects.data is None else _vectors(subjects.data),
        "sensitive": list(options.sensitive),
        "immutable": list(options.immutable),
        "bounds": None if options.bounds is None else list(options.bounds),
        "constraints": msgspec.to_builtins(options.constraints),
        "factory": options.factory,
        "recommender": list(options.recommender),
        "factory_source": None if options.factory is None else factory_digest(options.factory, folder),
        "outputs": options.outputs,
        "classes": list(options.classes),
    }
    # The digest of a table does not depend on the order of its columns; a model that knows no names does.
    columns: dict[str, JSON] = {
        role: [column.name for column in data.columns]
        for role, data in (("data", subjects.data), ("train", subjects.train))
        if data is not None
    }
    return {
        "subjects": dict(subjects.digests()),
        "checks": checks,
        "settings": msgspec.json.decode(msgspec.json.encode(settings)),
        "columns": columns,
        "options": chosen,
        "budget": options.budget,
        "seed": options.seed,
        "versions": dict(versions()),
    }


def _vectors(data: Dataset) -> str | None:
    return None if data.vectors is None else data.vectors.subject.digest


def _described(subjects: Subjects) -> tuple[Subject, ...]:
    train = subjects.train
    found = (
        subjects.artifact[1] if subjects.artifact else None,
        subjects.model.subject if subjects.model else None,
        subjects.data.subject if subjects.data else None,
        train.subject if train else None,
        subjects.recommender[0] if subjects.recommender else None,
        subjects.recommender[2].subject if subjects.recommender else None,
    )
    return tuple(subject for subject in found if subject is not None)


def _name(given: object, placeholder: str) -> str:
    return str(given) if isinstance(given, str | Path) else placeholder
