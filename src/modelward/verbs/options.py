"""What an audit is told, in Python, in the configuration file and on the command line."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelward.adapters.data.options import Constraints
from modelward.adapters.outputs import Statement
from modelward.core.check import Norm, Preset, Similarity
from modelward.core.choices import explained
from modelward.core.policy import Policy
from modelward.errors import ConfigInvalid
from modelward.ledger.place import LOCAL, is_database


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about an audit besides the model and the data.

        AuditOptions(train="train.npz", eps=(0.05,), budget="60s", seed=7)
        AuditOptions(label="fraud", sensitive=("sex",), immutable=("age", "sex"))

    Attributes:
        train: training data, in the forms `data` may have; for membership leakage and training ranges.
        label: label column of a table, or key of the labels in an npz (default ``y``).
        text: column of texts, where that is what the model reads.
        vectors: word vectors (npz or txt), for replacing words by others that mean much the same.
        sensitive: columns that groups are formed by.
        immutable: columns that an attacker cannot change.
        bounds: the box of inputs, the same for every feature.
        constraints: what an attacker cannot do to a row: directions, costs, relations between columns.
        factory: ``package.module:function`` that builds the torch module for a weights file, or the
            recommender.
        recommender: columns of users, items and ratings in the data, where the model is a recommender; see
            `core.model.Recommender`.
        outputs: meaning of the model's outputs; null detects it.
        classes: class labels in the order of the outputs; empty detects them.
        checks: dotted prefixes of the checks to run; empty runs all.
        norm: norms of the evasion checks.
        eps: their radii in the box's unit (l0: pixels or features, patch: share of the area); empty uses
            defaults for the kind of data.
        preset: how hard the evasion checks try.
        similarity: what a changed text must keep of its original, to count as a witness.
        limit: points that are attacked and certified.
        budget: like ``60s,1e6p,5000q`` (seconds, passes, queries); null is unlimited.
        seed: ``0 <= seed < 2**53``.
        policy: requirements; null applies the baseline. `read_policy` reads a file.
        store: folder of the ledger.
        database: URL of a database that holds the records in its place; arrays stay in the folder.
        fresh: start over instead of continuing.
        command: what a report names as the command that repeats the audit; null derives it from the above.
    """

    train: object | None = None
    label: str | None = None
    text: str | None = None
    vectors: str | None = None
    sensitive: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    constraints: Constraints = Constraints()
    factory: str | None = None
    import_from: Path | None = None
    recommender: tuple[str, ...] = ()
    outputs: Statement | None = None
    classes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    norm: tuple[Norm, ...] = ("linf", "l2")
    eps: tuple[float, ...] = ()
    preset: Preset = "standard"
    similarity: Similarity = Similarity()
    limit: int = 200
    budget: str | None = None
    seed: int = 0
    policy: Policy | None = None
    store: Path = LOCAL
    database: str | None = None
    fresh: bool = False
    command: str | None = None


_SEVERAL = ("sensitive", "immutable", "classes", "checks", "norm", "eps", "recommender")


def settled(options: AuditOptions) -> AuditOptions:
    """The options with a single value where several may stand taken as one, and everything of its type.

    Raises:
        ConfigInvalid: a value has another type than its field, or a norm is none.
    """
    given = {name: getattr(options, name) for name in _SEVERAL}
    several = {name: (v,) if isinstance(v, str | int | float) else v for name, v in given.items()}
    plain = {field.name: getattr(options, field.name) for field in msgspec.structs.fields(AuditOptions)}
    plain |= several
    kept = {name: plain.pop(name) for name in ("train", "policy", "import_from", "command", "store")}
    try:
        checked = msgspec.convert(plain, AuditOptions)
        store, database = Path(options.store), options.database
        if is_database(str(options.store)):
            store, database = LOCAL, str(options.store)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"AuditOptions: {explained(error, AuditOptions)}") from error
    except TypeError as error:
        raise ConfigInvalid(f"AuditOptions: {error}") from error
    policy: object = options.policy
    if not isinstance(policy, Policy | None):
        advice = "modelward.read_policy(path) reads one from a file."
        raise ConfigInvalid("AuditOptions: policy is no Policy", advice=advice)
    return msgspec.structs.replace(checked, **kept | {"store": store, "database": database})
