"""Documents and blobs of a layout, none of them trusted."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, TypeVar, final

import msgspec

from modelward.core.canonical import canonical
from modelward.core.digest import CHUNK
from modelward.errors import ContentChanged, ContentUnstable, FileMissing, SealDamaged
from modelward.vault.container.placing import create, write_all
from modelward.vault.dsse import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelward.core.canonical import JSON

T = TypeVar("T", bound=msgspec.Struct)

DIGEST: Final = r"^sha256:[0-9a-f]{64}\Z"
LARGEST_MANIFEST: Final = 4 << 20
"""Bytes of a manifest that registries must accept (OCI distribution specification)."""
BLOBS: Final = "blobs/sha256"
_MOST_VALUES: Final = 1 << 21  # of a document

_TYPE: Final = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z"


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What a blob is, how long it is and what it hashes to.

    Attributes:
        media_type: what the bytes are.
        digest: ``sha256:<hex>``.
        size: bytes.
        annotations: texts by name.
        artifact_type: of a manifest, what it is a manifest of.
    """

    media_type: Annotated[str, msgspec.Meta(pattern=_TYPE)]
    digest: Annotated[str, msgspec.Meta(pattern=DIGEST)]
    size: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    annotations: dict[str, str] = {}
    artifact_type: str = ""


class ImageManifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An OCI image manifest.

    Attributes:
        schema_version: 2.
        media_type: of this document.
        artifact_type: what it is a manifest of; empty where the configuration's media type says it.
        config: the configuration blob.
        layers: the content.
        subject: the manifest that this one is said about.
        annotations: texts by name.
    """

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class ImageIndex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An OCI image index.

    Attributes:
        schema_version: 2.
        media_type: of this document.
        manifests: those of the layout.
    """

    schema_version: int
    media_type: str = ""
    manifests: tuple[Descriptor, ...]


class Marker(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The document `oci-layout`."""

    image_layout_version: str


def document(value: msgspec.Struct) -> bytes:
    """Canonical JSON of a document."""
    plain: JSON = msgspec.to_builtins(value)
    return canonical(plain)


def read_marker(data: bytes) -> None:
    """Check the document `oci-layout`.

    Raises:
        SealDamaged: it is of another version, or none.
    """
    if _convert(data, Marker, "the document oci-layout").image_layout_version != "1.0.0":
        raise SealDamaged("the layout is not of version 1.0.0")


def read_index(data: bytes) -> ImageIndex:
    """Read the document `index.json`.

    Raises:
        SealDamaged: it is no image index.
    """
    found = _convert(data, ImageIndex, "the layout's index")
    if found.schema_version != 2:
        raise SealDamaged("the layout's index is not of schema version 2")
    return found


def read_manifest(data: bytes) -> ImageManifest:
    """Read an image manifest.

    Raises:
        SealDamaged: it is none.
    """
    found = _convert(data, ImageManifest, "the manifest")
    if found.schema_version != 2:
        raise SealDamaged("the manifest is not of schema version 2")
    return found


@final
class Layout:
    """A folder with blobs that are found by their digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str, limit: int) -> bytes:
        """A small file of the layout.

        Raises:
            SealDamaged: it is missing, no regular file, or longer than the limit.
        """
        with self._open(self.folder / name) as (handle, size):
            if size > limit:
                raise SealDamaged(f"{name} has {size:,} bytes, more than {limit:,}")
            data = b""
            while piece := os.read(handle, limit + 1 - len(data)):
                data += piece
                if len(data) > limit:
                    raise SealDamaged(f"{name} has more than {limit:,} bytes")
            return data

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob.

        Raises:
            SealDamaged: it is missing or longer than the limit.
            ContentChanged: it is not what its descriptor says.
        """
        data = self.read(f"{BLOBS}/{descriptor.digest[7:]}", limit)
        if len(data) != descriptor.size or "sha256:" + hashlib.sha256(data).hexdigest() != descriptor.digest:
            raise ContentChanged(f"the blob {descriptor.digest} is not what its digest says")
        return data

    def copy(self, descriptor: Descriptor, target: Path) -> None:
        """Write a blob to a new file, of which nothing is to be believed until this returns.

        Raises:
            SealDamaged: it is missing.
            ContentChanged: it is not what its descriptor says.
            OSError: the target cannot be written.
        """
        with self._open(self.folder / BLOBS / descriptor.digest[7:]) as (handle, size):
            if size == descriptor.size:
                digest, length = _copy(handle, target)
                if length == size and digest == descriptor.digest:
                    return
        raise ContentChanged(f"the blob {descriptor.digest} is not what its digest says")

    @contextmanager
    def _open(self, path: Path) -> Iterator[tuple[int, int]]:
        name = path.relative_to(self.folder)
        try:  # a pipe must not keep us waiting, and a link must not lead elsewhere
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SealDamaged(f"the layout lacks {name} ({error.strerror})") from error
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise SealDamaged(f"{name} is not a regular file")
            yield handle, found.st_size
        finally:
            os.close(handle)


def put(layout: Path, data: bytes) -> tuple[str, int]:
    """Write a small blob; one that is there already is the same.

    Returns:
        Its digest and length.
    """
    digest = hashlib.sha256(data).hexdigest()
    path = layout / BLOBS / digest
    if not path.exists():
        handle = create(path)
        try:
            write_all(handle, data, 0)
        finally:
            os.close(handle)
    return f"sha256:{digest}", len(data)


def put_file(
    layout: Path, source: str, length: int, around: tuple[bytes, bytes] = (b"", b"")
) -> tuple[str, int]:
    """Copy a file into the blobs while it is hashed.

    Args:
        layout: the layout's folder.
        source: the file.
        length: bytes it had when it was found.
        around: bytes that stand before and after its content in the blob.

    Returns:
        Its digest and length.

    Raises:
        FileMissing: it cannot be read.
        ContentUnstable: it is of another length by now.
        OSError: the blob cannot be written.
    """
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileMissing(f"{source}: cannot be read ({error.strerror})") from error
    waiting = layout / BLOBS / "incoming"
    try:
        digest, copied = _copy(handle, waiting, *around)
    finally:
        os.close(handle)
    found = copied - len(around[0]) - len(around[1])
    if found != length:
        raise ContentUnstable(f"{source}: had {length:,} bytes and now has {found:,}")
    waiting.replace(layout / BLOBS / digest.removeprefix("sha256:"))
    return digest, copied


def _copy(handle: int, target: Path, head: bytes = b"", tail: bytes = b"") -> tuple[str, int]:
    """Copy what is left of an open file into a new one, with something before and after it."""
    state, done = hashlib.sha256(), 0
    out = create(target)
    try:
        for piece in _pieces(handle, head, tail):
            state.update(piece)
            write_all(out, piece, done)
            done += len(piece)
    finally:
        os.close(out)
    return f"sha256:{state.hexdigest()}", done


def _pieces(handle: int, head: bytes, tail: bytes) -> Iterator[bytes | memoryview]:
    buffer = bytearray(CHUNK)
    yield head
    while count := os.readv(handle, [buffer]):
        yield memoryview(buffer)[:count]
    yield tail


def _convert(data: bytes, kind: type[T], what: str) -> T:
    try:
        found: T = msgspec.convert(load(data, what, most=_MOST_VALUES), kind)
    except msgspec.ValidationError as error:
        raise SealDamaged(f"{what} is not what its format allows: {str(error)[:200]}") from error
    return found
