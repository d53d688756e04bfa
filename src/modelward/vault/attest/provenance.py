"""Where a model comes from: SLSA provenance version 1, from a file that states it and from git.

Source: SLSA v1.0, provenance (`https://slsa.dev/provenance/v1`); its extension fields bear the vendor's name.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from modelward.core.canonical import JSON
from modelward.core.claim import Claim
from modelward.core.evidence import Cost
from modelward.errors import PolicyInvalid, SealDamaged
from modelward.vault.attest.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROVENANCE: Final = "https://slsa.dev/provenance/v1"
TRAINING: Final = "https://modelward.dev/training/v1"
STATED_CLAIMS: Final = ("accounted-epsilon", "audited-epsilon")
"""What training itself can account for; all other claims come from an audit."""

_CLAIMS: Final = "modelward_claims"
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32,128}\\Z")]


class Code(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code that trained it.

    Attributes:
        uri: where the repository is.
        commit: of git, 40 or 64 hexadecimal digits.
        modified: whether there were changes that no commit holds.
    """

    uri: str = ""
    commit: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{40}|[0-9a-f]{64})\\Z")]
    modified: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Data that it was trained on.

    Attributes:
        name: what it is called.
        uri: where it is.
        digest: algorithm to hexadecimal digits.
    """

    name: str
    uri: str = ""
    digest: dict[str, _Hex]


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who trained it, and when.

    Attributes:
        builder: URI of the platform that ran the training.
        invocation: id of the run there.
        started: its begin.
        finished: its end.
    """

    builder: str
    invocation: str = ""
    started: Moment | None = None
    finished: Moment | None = None


class StatedClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What training accounts for by itself, such as its loss of privacy.

    Attributes:
        id: `accounted-epsilon` or `audited-epsilon`.
        value: the number.
        n: samples it speaks of.
        scope: what it is limited to (delta, accountant, ...).
    """

    id: str
    value: float
    n: Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
    scope: dict[str, JSON] = {}


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model was trained.

    Attributes:
        code: the code; null where it is not known.
        data: what it was trained on.
        parameters: what was chosen.
        environment: libraries and machines.
        run: who and when.
        claims: what training accounts for.
        type: URI of the kind of build, which gives `parameters` their meaning.
    """

    code: Code | None = None
    data: tuple[Source, ...] = ()
    parameters: dict[str, JSON] = {}
    environment: dict[str, JSON] = {}
    run: Run
    claims: tuple[StatedClaim, ...] = ()
    type: str = TRAINING

    @property
    def pinned(self) -> bool:
        """Whether it names code or data by digest."""
        return self.code is not None or bool(self.data)

    def check(self) -> None:
        """Refuse a provenance that pins nothing or claims what training cannot know.

        Raises:
            PolicyInvalid: it does.
        """
        if not self.pinned:
            raise PolicyInvalid(
                "the provenance names neither code nor data by digest", advice="State [code] or [[data]]."
            )
        for source in self.data:
            if not source.digest:
                raise PolicyInvalid(f"the provenance names the data {source.name!r} without a digest")
        for claim in self.claims:
            if claim.id not in STATED_CLAIMS:
                raise PolicyInvalid(
                    f"a provenance cannot state the claim {claim.id!r}",
                    advice=f"Training accounts for {', '.join(STATED_CLAIMS)}; an audit claims the rest.",
                )
            if not (math.isfinite(claim.value) and claim.value >= 0):
                raise PolicyInvalid(f"the claim {claim.id!r} is {claim.value}, not finite or below 0")

    def judged(self) -> tuple[Claim, ...]:
        """The claims it states, as claims of a model; they rest on whoever signed them."""
        return tuple(
            Claim(
                id=claim.id,
                statement=f"By its provenance, the {claim.id.replace('-', ' ')} is {claim.value:g}.",
                scope=claim.scope,
                value=claim.value,
                basis="attested",
                n=claim.n,
                cost=Cost(),
                evidence=(),
                better="lower",
            )
            for claim in self.claims
        )


class StatedSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Data as a `provenance.toml` states it: by digest, or by the path of a file or folder that is hashed."""

    name: str = ""
    path: str = ""
    uri: str = ""
    digest: dict[str, _Hex] = {}


class Stated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `provenance.toml`; see `Provenance`."""

    run: Run
    code: Code | None = None
    data: tuple[StatedSource, ...] = ()
    parameters: dict[str, JSON] = {}
    environment: dict[str, JSON] = {}
    claims: tuple[StatedClaim, ...] = ()
    type: str = TRAINING


def read_stated(path: Path) -> Provenance:
    """Read a `provenance.toml`; paths of data in it are relative to its folder.

    Returns:
        What it states, not yet checked: the code may come from elsewhere.

    Raises:
        FileMissing: it, or data that it names, cannot be read.
        ConfigInvalid: it is not TOML, has an unknown key or a bad value.
        PolicyInvalid: data has neither a digest nor a path, or both.
    """
    from modelward.vault.attest.tables import decode  # who only verifies needs none of this

    stated = decode(path, Stated)
    return Provenance(
        code=stated.code,
        data=tuple(_source(source, path.parent) for source in stated.data),
        parameters=stated.parameters,
        environment=stated.environment,
        run=stated.run,
        claims=stated.claims,
        type=stated.type,
    )


def _source(source: StatedSource, folder: Path) -> Source:
    name = source.name or source.path or source.uri
    if not name or bool(source.path) == bool(source.digest):
        raise PolicyInvalid(f"the data {name!r} needs a name, and either a digest or a path")
    digest = source.digest
    if source.path:
        from modelward.core.digest import file_digest

        where = folder / source.path
        if where.is_dir():
            from modelward.vault.tree.hashing import hash_tree

            digest = {"modelwardTree": hash_tree(where).root.removeprefix("sha256:")}
        else:
            digest = {"sha256": file_digest(where).removeprefix("sha256:")}
    return Source(name=name, uri=source.uri, digest=digest)


def to_predicate(stated: Provenance) -> dict[str, JSON]:
    """The SLSA predicate."""
    resolved: list[JSON] = []
    if stated.code is not None:
        kind = "gitCommit" if len(stated.code.commit) == 40 else "sha256"
        code: dict[str, JSON] = {"name": "code", "digest": {kind: stated.code.commit}}
        code |= {"uri": stated.code.uri} if stated.code.uri else {}
        code |= {"annotations": {"modified": True}} if stated.code.modified else {}
        resolved.append(code)
    for source in stated.data:
        uri: dict[str, JSON] = {"uri": source.uri} if source.uri else {}
        resolved.append(
            {"name": source.name, **uri, "digest": dict(source.digest), "annotations": {"role": "data"}}
        )
    metadata: dict[str, JSON] = {"invocationId": stated.run.invocation} if stated.run.invocation else {}
    for key, moment in (("startedOn", stated.run.started), ("finishedOn", stated.run.finished)):
        metadata |= {key: msgspec.to_builtins(moment)} if moment is not None else {}
    details: dict[str, JSON] = {"builder": {"id": stated.run.builder}, "metadata": metadata}
    if stated.claims:
        details[_CLAIMS] = msgspec.to_builtins(stated.claims, builtin_types=())
    return {
        "buildDefinition": {
            "buildType": stated.type,
            "externalParameters": stated.parameters,
            "internalParameters": {"environment": stated.environment},
            "resolvedDependencies": resolved,
        },
        "runDetails": details,
    }


class _Resolved(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    uri: str = ""
    digest: dict[str, str] = {}
    annotations: dict[str, JSON] = {}


class _Definition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    build_type: str
    external_parameters: dict[str, JSON]
    internal_parameters: dict[str, JSON] = {}
    resolved_dependencies: tuple[_Resolved, ...] = ()


class _Builder(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class _Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    invocation_id: str = ""
    started_on: Moment | None = None
    finished_on: Moment | None = None


class _Details(msgspec.Struct, frozen=True, kw_only=True):
    builder: _Builder
    metadata: _Metadata = _Metadata()
    modelward_claims: tuple[StatedClaim, ...] = ()


class _Slsa(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    build_definition: _Definition
    run_details: _Details


def read_provenance(predicate: Mapping[str, JSON]) -> Provenance:
    """Read a SLSA predicate, whoever wrote it; fields that are not known are passed over, as SLSA asks.

    Raises:
        SealDamaged: it is none, or claims what training cannot know.
    """
    try:
        slsa = msgspec.convert(predicate, _Slsa)
        definition, details = slsa.build_definition, slsa.run_details
        environment = definition.internal_parameters.get("environment", {})
        data = [one for one in definition.resolved_dependencies if one.digest and _commit(one) is None]
        found = Provenance(
            code=next((code for code in map(_code, definition.resolved_dependencies) if code), None),
            data=tuple(Source(name=one.name or one.uri, uri=one.uri, digest=one.digest) for one in data),
            parameters=definition.external_parameters,
            environment=environment if isinstance(environment, dict) else {},
            run=Run(
                builder=details.builder.id,
                invocation=details.metadata.invocation_id,
                started=details.metadata.started_on,
                finished=details.metadata.finished_on,
            ),
            claims=details.modelward_claims,
            type=definition.build_type,
        )
        if found.claims:
            found.check()
    except (msgspec.ValidationError, OverflowError, PolicyInvalid) as error:
        raise SealDamaged(f"the provenance is not as SLSA has it: {str(error)[:200]}") from error
    return found


def _commit(one: _Resolved) -> str | None:
    """The commit of git, by any of the names under which tools write it."""
    found = one.digest.get("gitCommit") or one.digest.get("sha1")
    if found is None and one.name == "code":
        found = one.digest.get("sha256")
    return found if found and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", found) else None


def _code(one: _Resolved) -> Code | None:
    commit = _commit(one)
    return (
        None
        if commit is None
        else Code(uri=one.uri, commit=commit, modified=one.annotations.get("modified") is True)
    )
