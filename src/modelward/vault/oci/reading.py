"""A layout back as a folder. Nothing in a layout is trusted: no digest, no name and no size."""

from __future__ import annotations

import errno
import gzip
import mmap
import os
import tempfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from modelward.artifact.tarread import Trouble, entries
from modelward.core.digest import CHUNK
from modelward.errors import PathUnsafe, SealDamaged
from modelward.vault.container.placing import create, placed, sync_everything, write_all
from modelward.vault.oci.blobs import (
    LARGEST_MANIFEST,
    ImageManifest,
    Layout,
    read_index,
    read_manifest,
    read_marker,
)
from modelward.vault.oci.kinds import BUNDLE, FILEPATH, INDEX, REF_NAME, TITLE
from modelward.vault.tree.names import check_names, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from modelward.vault.oci.blobs import Descriptor

_SMALL: Final = 1 << 16
_LARGEST_INDEX: Final = 1 << 26
_LARGEST_BUNDLES: Final = 1 << 28  # together
_FOLD: Final = 16
_BESIDE: Final = 8 << 30
"""Compressed layers expand to at most so many times their sizes and so many bytes, all together: a small one
may be mostly zeros, and none may fill the disk."""
_MAX_MEMBERS: Final = 1_000_000
_WAITING: Final = ".modelward\\layer"
"""No file of a layer can have this name: backslashes are refused."""


class Unpacked(NamedTuple):
    """What a layout held.

    Attributes:
        digest: of the artifact's manifest.
        files: paths that were written, in order.
        bundles: signatures and attestations that are attached to the artifact, not verified.
    """

    digest: str
    files: tuple[str, ...]
    bundles: tuple[bytes, ...]


def read_oci(layout: Path, directory: Path, *, tag: str | None = None, replace: bool = False) -> Unpacked:
    """Unpack the artifact of a layout. Digests are checked; signatures are `modelward verify`'s.

    Args:
        layout: the folder with `oci-layout`, `index.json` and `blobs`.
        directory: written beside it and put in its place whole.
        tag: which artifact, where there are several.
        replace: exchange what is at the directory for what is unpacked.

    Raises:
        SealDamaged: the layout lacks something, is not what its format allows, or names an unsafe path.
        ContentChanged: a blob is not what its digest says.
        OutputUnwritable: the directory exists or cannot be written.
    """
    found = Layout(layout)
    read_marker(found.read("oci-layout", _SMALL))
    index = read_index(found.read("index.json", _LARGEST_INDEX))
    chosen = _chosen(index.manifests, tag)
    manifest = read_manifest(found.blob(chosen, LARGEST_MANIFEST))
    found.blob(manifest.config, LARGEST_MANIFEST)  # it is not used, and is to be whole all the same
    names = [_name(layer) for layer in manifest.layers]
    _check(name for name in names if name is not None)
    bundles = tuple(_attached(found, index.manifests, chosen))
    with placed(directory, replace=replace) as folder:
        files: list[str] = []
        packed = {layer.digest: layer.size for layer in manifest.layers if layer.media_type.endswith("gzip")}
        left = _BESIDE + _FOLD * sum(packed.values())
        for layer, name in zip(manifest.layers, names, strict=True):
            if name is not None:
                with _new(folder, name) as place:
                    found.copy(layer, place)
                files.append(name)
            else:
                members, left = _unpack(found, layer, folder, left)
                files += members
        _check(files)
        sync_everything(folder)
    return Unpacked(chosen.digest, tuple(files), bundles)


def _chosen(manifests: tuple[Descriptor, ...], tag: str | None) -> Descriptor:
    """The artifact: the one with the tag, or the only one that is not said about another."""
    candidates = [one for one in manifests if one.artifact_type != BUNDLE]
    if tag is not None:
        candidates = [one for one in candidates if one.annotations.get(REF_NAME) == tag]
    distinct = {one.digest: one for one in candidates}
    if len(distinct) != 1:
        tags = sorted({shown(one.annotations.get(REF_NAME, "")) for one in candidates})
        raise SealDamaged(
            f"the layout holds {len(distinct)} artifacts of this name, not one",
            advice=f"Name a tag ({', '.join(tags[:10])})." if len(distinct) > 1 else None,
        )
    chosen = next(iter(distinct.values()))
    if chosen.media_type == INDEX:
        raise SealDamaged("the layout's artifact is an index of several, no model")
    return chosen


def _name(layer: Descriptor) -> str | None:
    """Path of the one file that a layer is; null for an archive."""
    title, path = layer.annotations.get(TITLE), layer.annotations.get(FILEPATH)
    if layer.media_type.endswith((".tar", ".tar+gzip", ".tar.gzip")):
        return None
    if layer.media_type.endswith("+zstd"):
        raise SealDamaged("a layer is compressed by zstd, which is not read here")
    if title is not None and path is not None and title != path:
        raise SealDamaged(f"a layer has two names, {shown(title)} and {shown(path)}")
    name = title if path is None else path
    if name is None:
        raise SealDamaged(f"the layer {layer.digest} has no name")
    return name


def _check(names: Iterable[str]) -> None:
    try:
        check_names(names)
    except PathUnsafe as error:
        raise SealDamaged(f"the layout names an unsafe path: {error}") from error


def _attached(layout: Layout, manifests: tuple[Descriptor, ...], subject: Descriptor) -> Iterator[bytes]:
    """Bundles whose manifests name the artifact as their subject, each once, however often it is listed."""
    layers: dict[str, Descriptor] = {}
    for one in {one.digest: one for one in manifests if one.artifact_type == BUNDLE}.values():
        manifest: ImageManifest = read_manifest(layout.blob(one, LARGEST_MANIFEST))
        layout.blob(manifest.config, LARGEST_MANIFEST)
        if manifest.subject is not None and manifest.subject.digest == subject.digest:
            layers |= {layer.digest: layer for layer in manifest.layers}
    left = _LARGEST_BUNDLES
    for layer in layers.values():
        data = layout.blob(layer, left)
        left -= len(data)
        yield data


def _unpack(layout: Layout, layer: Descriptor, folder: Path, left: int) -> tuple[list[str], int]:
    """Write the files of an archive; of the bytes that compressed ones may expand to, what is left over."""
    waiting = folder / _WAITING
    layout.copy(layer, waiting)
    try:
        with waiting.open("rb") as stream, tempfile.TemporaryFile(dir=folder) as plain:
            if layer.media_type.endswith("gzip"):
                left -= _inflate(stream, plain, left)
                return _members(plain, folder), left
            return _members(stream, folder), left
    finally:
        waiting.unlink()


def _inflate(stream: IO[bytes], into: IO[bytes], limit: int) -> int:
    """Expand an archive; how many bytes it has."""
    length = 0
    with gzip.GzipFile(fileobj=stream) as source:
        try:
            while piece := source.read(CHUNK):
                length += len(piece)
                if length > limit:
                    raise SealDamaged(
                        f"the layers expand to more than {_FOLD} times their size and {_BESIDE >> 30} GiB",
                        advice="If you trust whoever made them, unpack the layers with tar.",
                    )
                into.write(piece)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SealDamaged(f"an archive is not whole: {error}") from error
    into.flush()
    return length


def _members(stream: IO[bytes], folder: Path) -> list[str]:
    """Write the files of an archive that every reader of archives understands alike."""
    if not os.fstat(stream.fileno()).st_size:
        return []
    written: list[str] = []
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for member in entries(data):
            if isinstance(member, Trouble):
                raise SealDamaged(f"an archive is ambiguous: {member.message}")
            name = member.name.removeprefix("./").rstrip("/")
            if member.kind == "folder":
                continue
            if member.kind != "file" or len(written) >= _MAX_MEMBERS:
                raise SealDamaged(f"{shown(name)}: an archive holds more than plain files")
            _check([name])
            with memoryview(data) as view, view[member.start : member.start + member.size] as content:
                _extract(content, folder, name)
            written.append(name)
    return written


def _extract(content: memoryview, folder: Path, name: str) -> None:
    with _new(folder, name) as target:
        handle = create(target)
        try:
            write_all(handle, content, 0)
        finally:
            os.close(handle)


@contextmanager
def _new(folder: Path, name: str) -> Iterator[Path]:
    """The place of a file that no layer before has taken."""
    try:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        yield folder / name
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG}:
            raise SealDamaged(f"{shown(name)}: {(error.strerror or 'cannot be').lower()}") from error
        raise
