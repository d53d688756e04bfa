"""`modelward.toml`: the same statements as the flags of `audit` and `scan`, in five tables."""

from __future__ import annotations

import re
import shlex
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_type_hints

import msgspec

from modelward.adapters.data.options import Constraints
from modelward.adapters.outputs import Statement
from modelward.core.check import Norm, Preset, Similarity
from modelward.core.files import read_at_most
from modelward.core.policy import Policy, Threshold
from modelward.errors import ConfigInvalid, PolicyInvalid
from modelward.verbs.options import AuditOptions
from modelward.verbs.scan import ScanTable

FILE_NAME = "modelward.toml"
_LARGEST = 1 << 20
_T = TypeVar("_T", bound=msgspec.Struct)


class ModelTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[model]``; see `AuditOptions`."""

    path: str | None = None
    factory: str | None = None
    outputs: Statement | None = None
    classes: tuple[str, ...] = ()


class DataTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[data]``; see `AuditOptions`."""

    path: str | None = None
    train: str | None = None
    label: str | None = None
    text: str | None = None
    recommender: tuple[str, ...] = ()
    vectors: str | None = None
    sensitive: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    constraints: Constraints = Constraints()


class AuditTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[audit]``; see `AuditOptions`."""

    checks: tuple[str, ...] = ()
    norm: tuple[Norm, ...] = ("linf", "l2")
    eps: tuple[float, ...] = ()
    preset: Preset = "standard"
    similarity: Similarity = Similarity()
    limit: int = 200
    budget: str | None = None
    seed: int = 0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole configuration file."""

    model: ModelTable = ModelTable()
    data: DataTable = DataTable()
    audit: AuditTable = AuditTable()
    scan: ScanTable = ScanTable()
    policy: Policy | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration file asks for.

    Attributes:
        model: the model's path.
        data: the data's path.
        options: everything else.
    """

    model: Path | None
    data: str | None
    options: AuditOptions


def read_config(path: Path) -> Plan:
    """Read a configuration file; paths in it are relative to its folder.

    Raises:
        FileMissing: it cannot be read.
        ConfigInvalid: it is not TOML, has an unknown key (the nearest known one is named) or a bad value.
    """
    config = _decode(path, Config)
    folder = path.parent
    model, data, audit = config.model, config.data, config.audit
    options = AuditOptions(
        train=_relative(folder, data.train),
        label=data.label,
        text=data.text,
        recommender=data.recommender,
        vectors=None if data.vectors is None else str(folder / data.vectors),
        sensitive=data.sensitive,
        immutable=data.immutable,
        bounds=data.bounds,
        constraints=data.constraints,
        factory=model.factory,
        import_from=folder,
        outputs=model.outputs,
        classes=model.classes,
        checks=audit.checks,
        norm=audit.norm,
        eps=audit.eps,
        preset=audit.preset,
        similarity=audit.similarity,
        limit=audit.limit,
        budget=audit.budget,
        seed=audit.seed,
        policy=config.policy,
        store=folder / ".modelward",
        command=shlex.join(["modelward", "audit", "--config", str(path)]),
    )
    return Plan(
        model=None if model.path is None else folder / model.path,
        data=_relative(folder, data.path),
        options=options,
    )


def read_scan(path: Path) -> ScanTable:
    """Read the table ``[scan]`` of a configuration file; paths in it become relative to where the file is.

    Raises:
        FileMissing: it cannot be read.
        ConfigInvalid: it is not TOML, has an unknown key or a bad value.
    """
    table = _decode(path, Config).scan
    if table.licences is not None and not (table.licences.allow or table.licences.deny):
        raise ConfigInvalid(f"{path}: [scan.licences] neither allows nor denies a licence")

    def beside(text: str | None) -> str | None:
        return None if text is None else str(path.parent / text)

    known = table.vulnerabilities
    return msgspec.structs.replace(
        table, baseline=beside(table.baseline), vulnerabilities=known if known == "online" else beside(known)
    )


def read_policy(path: Path) -> Policy:
    """Read a policy: the keys of ``[policy]`` at the top of a file, or a configuration file's own.

    Raises:
        FileMissing: it cannot be read.
        ConfigInvalid: it is not TOML, has an unknown key or a bad value.
        PolicyInvalid: it is a configuration file without a policy.
    """
    if any(table in _load(path) for table in ("policy", "model", "data", "audit", "scan")):
        policy = _decode(path, Config).policy
        if policy is None:
            raise PolicyInvalid(f"{path}: has no table [policy]")
        return policy
    return _decode(path, Policy)


def _relative(folder: Path, text: str | None) -> str | None:
    """Resolve a data path, which may be two joined by a comma, or have one in its name."""
    if text is None:
        return None
    if (folder / text).exists():
        return str(folder / text)
    return ",".join(str(folder / part) for part in text.split(","))


def _load(path: Path) -> dict[str, object]:
    text = read_at_most(path, _LARGEST, ConfigInvalid(f"{path}: is longer than {_LARGEST:,} bytes"))
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise ConfigInvalid(f"{path}: is not TOML ({str(error)[:200]})") from error


def _decode(path: Path, kind: type[_T]) -> _T:
    content = _load(path)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{path}: {_explain(str(error), kind)}") from error


def _explain(message: str, kind: type[msgspec.Struct]) -> str:
    unknown = re.match(
        r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$\.?(?P<where>.*)`)?", message
    )
    if unknown is None:
        return message.replace(" - at `$", " (at `") + (")" if " - at `$" in message else "")
    key, where = unknown["key"], unknown["where"] or ""
    known = _keys(kind, where)
    near = get_close_matches(key, known, 1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    return f"unknown key {key!r}{f' in [{where}]' if where else ''}{hint}"


def _keys(kind: type[msgspec.Struct], where: str) -> list[str]:
    for part in (p for p in re.split(r"[.\[\]]+", where) if p and p != "..."):
        hints = get_type_hints(kind)
        target = hints.get(part.replace("-", "_"))
        if part == "policy":
            kind = Policy
        elif part == "require":
            kind = Threshold
        elif isinstance(target, type) and issubclass(target, msgspec.Struct):
            kind = target
    return [field.encode_name for field in msgspec.structs.fields(kind)]
