"""OpenSSF Model Signing v1: what is signed, as a value and as an in-toto statement.

Source: OpenSSF Model Signing specification v1.0 and the statements that model-signing 0.2 to 1.1.1 write.
docs/formats/signature.md has the format as it is read and written here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

from modelward.errors import PathUnsafe, SealDamaged
from modelward.vault.dsse import Statement
from modelward.vault.hazmat.hashing import FileAlgorithm
from modelward.vault.tree.names import check_names, increasing, shown, sorting_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modelward.core.canonical import JSON

PREDICATE: Final = "https://model_signing/signature/v1.0"
EARLY_PREDICATE: Final = "https://model_signing/Digests/v0.1"
"""Before 1.0: every file is a subject, and nothing says what was ignored."""
GIT: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What is never part of a model."""
ALONE: Final = "."
"""Name of the one resource when the model is a file."""

Method: TypeAlias = Literal["files", "shards"]

_SIZES: Final[dict[FileAlgorithm, int]] = {"sha256": 32, "blake2b": 64, "blake3": 32}
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


class Resource(NamedTuple):
    """A file or a shard of one.

    Attributes:
        path: POSIX, relative to the model; ``.`` when the model is a file.
        start: first byte; 0 of a whole file.
        stop: byte after the last one; -1 of a whole file, whose length is not signed.
        digest: raw bytes.
    """

    path: str
    start: int
    stop: int
    digest: bytes


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature says about a model.

    Attributes:
        name: of the model; it says nothing.
        method: digests of whole files or of shards.
        algorithm: of the digests.
        shard_size: bytes of each shard but a file's last; 0 for whole files.
        links: whether symbolic links were followed.
        ignore_paths: what was left out, relative to the model; of a folder, all that is in it.
        resources: in the order of paths' parts.
    """

    name: str
    method: Method = "files"
    algorithm: FileAlgorithm = "sha256"
    shard_size: int = 0
    links: bool = False
    ignore_paths: tuple[str, ...] = GIT
    resources: tuple[Resource, ...]

    @property
    def single(self) -> bool:
        """Whether the model is one file and no folder."""
        return self.resources[0].path == ALONE

    @property
    def digest(self) -> str:
        """SHA-256 over the raw digests in order, 64 hexadecimal digits. It does not bind names."""
        return hashlib.sha256(b"".join(resource.digest for resource in self.resources)).hexdigest()

    def statement(self) -> Statement:
        """As what is signed."""
        serialization: dict[str, JSON] = {
            "method": self.method,
            "hash_type": self.algorithm,
            "allow_symlinks": self.links,
            "ignore_paths": list(self.ignore_paths),
        }
        if self.method == "shards":
            serialization["shard_size"] = self.shard_size
        label = _label(self.algorithm, self.shard_size)
        resources: list[JSON] = [
            {"name": self._name(resource), "algorithm": label, "digest": resource.digest.hex()}
            for resource in self.resources
        ]
        return Statement(
            subjects=((self.name, {"sha256": self.digest}),),
            predicate_type=PREDICATE,
            predicate={"serialization": serialization, "resources": resources},
        )

    def _name(self, resource: Resource) -> str:
        if not self.shard_size:
            return resource.path
        return f"{resource.path}:{resource.start}:{resource.stop}"


def read_manifest(statement: Statement) -> Manifest:
    """Read and check what a statement says; verify its signatures first.

    Raises:
        SealDamaged: it is of another predicate, or contradicts itself: a name that leaves the model or stands
            twice, a digest of another length, an unknown algorithm, an order that is none, a subject whose
            digest is not that of the resources.
    """
    if statement.predicate_type == EARLY_PREDICATE:
        return _early(statement)
    if statement.predicate_type != PREDICATE:
        kind = shown(statement.predicate_type[:100])
        raise SealDamaged(f"the statement is of type {kind}, which does not say what files a model has")
    serialization = statement.predicate.get("serialization")
    listed = statement.predicate.get("resources")
    if not isinstance(serialization, dict) or not isinstance(listed, list):
        raise SealDamaged("the statement lacks its resources or how they were made")
    if len(statement.subjects) != 1:
        raise SealDamaged(f"the statement has {len(statement.subjects)} subjects instead of one")
    algorithm, size = _how(serialization)
    label = _label(algorithm, size)
    resources = tuple(_resource(item, label, size) for item in listed)
    links, ignored = serialization.get("allow_symlinks", False), serialization.get("ignore_paths", [])
    if not isinstance(links, bool) or not isinstance(ignored, list):
        raise SealDamaged("the statement's allow_symlinks or ignore_paths is of another type")
    name, digest = statement.subjects[0]
    manifest = Manifest(
        name=name,
        method="shards" if size else "files",
        algorithm=algorithm,
        shard_size=size,
        links=links,
        ignore_paths=tuple(_text(path, "a path to ignore") for path in ignored),
        resources=resources,
    )
    _check(manifest)
    if not hmac.compare_digest(digest.get("sha256", "").encode(), manifest.digest.encode()):
        raise SealDamaged("the digest of the subject is not that of the resources")
    return manifest


def _how(serialization: Mapping[str, JSON]) -> tuple[FileAlgorithm, int]:
    method, kind = serialization.get("method"), serialization.get("hash_type")
    if kind == "blake2":  # as model-signing calls it on the way in
        kind = "blake2b"
    algorithm = next((known for known in _SIZES if known == kind), None)
    if algorithm is None:
        raise SealDamaged(f"the statement hashes by {kind!a:.80}, not by {', '.join(_SIZES)}")
    if method == "files":
        return algorithm, 0
    if method != "shards":
        raise SealDamaged(f"the statement's method is {method!a:.80}, neither files nor shards")
    size = serialization.get("shard_size")
    if isinstance(size, float) and size.is_integer():  # protocol buffers know no other numbers
        size = int(size)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size < 1 << 53:
        raise SealDamaged(f"a shard of {size!a:.80} bytes is none")
    return algorithm, size


def _label(algorithm: FileAlgorithm, size: int) -> str:
    return f"{algorithm}-sharded-{size}" if size else algorithm


def _resource(value: JSON, label: str, size: int) -> Resource:
    if not isinstance(value, dict):
        raise SealDamaged("a resource is no JSON object")
    name = _text(value.get("name"), "the name of a resource")
    given = _text(value.get("algorithm"), f"the algorithm of {shown(name)}")
    if given != label and given.replace("blake2-", "blake2b-") != label and f"{given}b" != label:
        raise SealDamaged(f"{shown(name)}: hashed by {shown(given)}, where the statement says {label}")
    digest = _raw(name, value.get("digest"), label)
    if not size:
        return Resource(name, 0, -1, digest)
    path, *ends = name.rsplit(":", 2)
    if len(ends) != 2 or not all(_WHOLE.fullmatch(end) for end in ends):
        raise SealDamaged(f"{shown(name)}: the name of a shard is PATH:START:STOP")
    return Resource(path, int(ends[0]), int(ends[1]), digest)


def _raw(name: str, value: JSON, label: str) -> bytes:
    text = _text(value, f"the digest of {shown(name)}")
    size = next(size for algorithm, size in _SIZES.items() if label.startswith(algorithm))
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        raise SealDamaged(f"{shown(name)}: the digest is not {2 * size} lower-case hexadecimal digits")
    return bytes.fromhex(text)


def _text(value: JSON, what: str) -> str:
    if not isinstance(value, str):
        raise SealDamaged(f"{what} is no text")
    return value


def _early(statement: Statement) -> Manifest:
    resources = []
    for name, digest in statement.subjects:
        if set(digest) != {"sha256"}:
            raise SealDamaged(f"{shown(name)}: has no digest by SHA-256 alone")
        resources.append(Resource(name, 0, -1, _raw(name, digest["sha256"], "sha256")))
    manifest = Manifest(name="", resources=tuple(resources))
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    resources = manifest.resources
    if not resources:
        raise SealDamaged("the statement lists no file, so it says nothing")
    paths = list(dict.fromkeys(resource.path for resource in resources))
    if paths != [ALONE]:
        try:
            check_names(paths)
        except PathUnsafe as error:
            raise SealDamaged(f"the statement names an unsafe path: {error}") from error
    _check_order(resources)
    if manifest.shard_size:
        _check_shards(resources, manifest.shard_size)


def _check_order(resources: Sequence[Resource]) -> None:
    """By parts of the path as the reference library sorts, or by the whole path as others read its text."""
    if increasing((sorting_key(resource.path), resource.start) for resource in resources):
        return
    if increasing((resource.path, resource.start) for resource in resources):
        return
    for before, after in pairwise(resources):
        if before[:2] == after[:2]:
            raise SealDamaged(f"{shown(after.path)}: is listed twice")
    raise SealDamaged("the statement lists its files out of order")


def _check_shards(resources: Iterable[Resource], size: int) -> None:
    path, end, open_ = "", 0, False
    for resource in resources:
        length = resource.stop - resource.start
        begins = resource.path != path
        fits = resource.start == 0 if begins else open_ and resource.start == end
        if not fits or not 0 < length <= size:
            raise SealDamaged(f"{shown(resource.path)}: its shards do not cover it from its beginning")
        path, end, open_ = resource.path, resource.stop, length == size
