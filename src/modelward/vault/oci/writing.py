"""A folder as an OCI image layout: one file a layer, the same bytes whenever it is written."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.core.canonical import canonical
from modelward.errors import ConfigInvalid, FileMissing
from modelward.vault import bundle, dsse
from modelward.vault.container.layout import ATTESTATIONS, HEADER, SIGNATURES
from modelward.vault.container.placing import placed, sync_everything
from modelward.vault.oci.blobs import (
    BLOBS,
    LARGEST_MANIFEST,
    Descriptor,
    ImageIndex,
    ImageManifest,
    document,
    put,
    put_file,
)
from modelward.vault.oci.kinds import (
    BUNDLE,
    EMPTY,
    FILEPATH,
    INDEX,
    KITOPS_CONFIG,
    MANIFEST,
    MODELPACK,
    MODELPACK_CONFIG,
    REF_NAME,
    TITLE,
    UNTESTED,
    Profile,
    kind_of,
    kitops_config,
    kitops_order,
    layer_type,
    modelpack_config,
)
from modelward.vault.tree.walk import WalkOptions, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.oci.kinds import Kind
    from modelward.vault.tree.walk import WalkEntry

_TAG_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LARGEST_BUNDLE: Final = 1 << 28


class OciOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a layout is written.

    Attributes:
        profile: ``modelpack`` (CNCF: each layer is the file itself) or ``kitops`` (each layer is a tar
            archive with the one file).
        tag: how the layout's index calls the artifact; a registry's tag.
        name: of the model, for the configuration; may be empty.
        version: of the model, for the configuration; may be empty.
        ignore: shell patterns of what is left out; see `WalkOptions`.
        bundles: signatures and attestations that lie elsewhere and are attached.
        replace: exchange what is at the target for the new layout.
    """

    profile: Profile = "modelpack"
    tag: str = "latest"
    name: str = ""
    version: str = ""
    ignore: tuple[str, ...] = ()
    bundles: tuple[Path, ...] = ()
    replace: bool = False


def write_oci(folder: Path, target: Path, options: OciOptions | None = None) -> str:
    """Write a model folder, sealed or plain, as an OCI image layout.

    The signatures and attestations of a sealed folder are layers like all its files, and are also attached to
    the artifact as referrers (OCI 1.1: `subject`), so that a registry lists them without the model.

    Args:
        folder: a folder or a file.
        target: the layout, written beside it and put in its place whole.
        options: see `OciOptions`.

    Returns:
        Digest of the artifact's manifest, ``sha256:<hex>``.

    Raises:
        FileMissing: a file cannot be read.
        PathUnsafe: a link, or two names that another system takes for one.
        ContentUnstable: a file changed while it was read.
        ConfigInvalid: the tag is none, or there are more files than a manifest holds.
        SealDamaged: a signature or attestation that is to be attached is no bundle.
        OutputUnwritable: the target exists or cannot be written.
    """
    chosen = options or OciOptions()
    if not 0 < len(chosen.tag) <= 128 or set(chosen.tag) - _TAG_CHARACTERS or chosen.tag[0] in ".-":
        raise ConfigInvalid(f"{chosen.tag!r} is no tag of a registry", advice="Use letters, digits, `_.-`.")
    entries = walk(folder, WalkOptions(ignore=chosen.ignore, excluded=(target,)))
    attached = _bundles(folder, entries, chosen)
    with placed(target, replace=chosen.replace) as layout:
        (layout / BLOBS).mkdir(parents=True)
        main = _artifact(layout, entries, chosen)
        tagged = msgspec.structs.replace(main, annotations={REF_NAME: chosen.tag})
        index = ImageIndex(
            schema_version=2,
            media_type=INDEX,
            manifests=(tagged, *(_referrer(layout, main, data) for data in attached)),
        )
        (layout / "index.json").write_bytes(document(index))
        (layout / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
        sync_everything(layout)
    return main.digest


def _artifact(layout: Path, entries: Sequence[WalkEntry], options: OciOptions) -> Descriptor:
    """Write the layers, the configuration and the manifest."""
    kinds: list[tuple[WalkEntry, Kind]] = [(entry, kind_of(entry.path)) for entry in entries]
    if options.profile == "kitops":
        kinds.sort(key=lambda pair: kitops_order(pair[1]))  # stable: paths stay in order within a kind
    layers = [_layer(layout, entry, kind, options.profile) for entry, kind in kinds]
    if options.profile == "kitops":
        parts = [(entry.path, kind, layer.digest) for (entry, kind), layer in zip(kinds, layers, strict=True)]
        media, config = KITOPS_CONFIG, kitops_config(options.name, options.version, parts)
    else:
        media = MODELPACK_CONFIG
        config = modelpack_config(options.name, options.version, (layer.digest for layer in layers))
    digest, size = put(layout, canonical(config))
    manifest = ImageManifest(
        schema_version=2,
        media_type=MANIFEST,
        artifact_type=MODELPACK if options.profile == "modelpack" else "",
        config=Descriptor(media_type=media, digest=digest, size=size),
        layers=tuple(layers),
    )
    return _manifest(layout, manifest)


def _layer(layout: Path, entry: WalkEntry, kind: Kind, profile: Profile) -> Descriptor:
    length = entry.stat.st_size
    if profile == "kitops":
        digest, size = put_file(layout, entry.absolute, length, _tar(entry.path, length))
        return Descriptor(media_type=layer_type(profile, kind), digest=digest, size=size)
    digest, size = put_file(layout, entry.absolute, length)
    return Descriptor(
        media_type=layer_type(profile, kind),
        digest=digest,
        size=size,
        annotations={TITLE: entry.path, FILEPATH: entry.path, UNTESTED: "true"},
    )


def _tar(path: str, length: int) -> tuple[bytes, bytes]:
    """What stands around the content in an archive of one file; nothing of it is of this machine."""
    member = tarfile.TarInfo(path)
    member.size, member.mode = length, 0o644
    return member.tobuf(tarfile.PAX_FORMAT), bytes(-length % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _bundles(folder: Path, entries: Sequence[WalkEntry], options: OciOptions) -> list[bytes]:
    """The bundles of a sealed folder, and those that are named."""
    paths = list(options.bundles)
    if any(entry.path == HEADER for entry in entries):
        inside = (f"{SIGNATURES}/", f"{ATTESTATIONS}/")
        paths = [folder / entry.path for entry in entries if entry.path.startswith(inside)] + paths
    found = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                data = stream.read(_LARGEST_BUNDLE)
        except OSError as error:
            raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
        dsse.statement_of(bundle.decode(data).envelope)  # what is no statement is not attached
        found.append(data)
    return found


def _referrer(layout: Path, subject: Descriptor, data: bytes) -> Descriptor:
    """A manifest that attaches a bundle to the artifact, as cosign writes it."""
    predicate = dsse.statement_of(bundle.decode(data).envelope).predicate_type
    empty, length = put(layout, b"{}")
    digest, size = put(layout, data)
    manifest = ImageManifest(
        schema_version=2,
        media_type=MANIFEST,
        artifact_type=BUNDLE,
        config=Descriptor(media_type=EMPTY, digest=empty, size=length),
        layers=(Descriptor(media_type=BUNDLE, digest=digest, size=size),),
        subject=subject,
        annotations={
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate,
        },
    )
    found = _manifest(layout, manifest)
    return msgspec.structs.replace(found, artifact_type=BUNDLE)


def _manifest(layout: Path, manifest: ImageManifest) -> Descriptor:
    data = document(manifest)
    if len(data) > LARGEST_MANIFEST:
        raise ConfigInvalid(
            f"{len(manifest.layers):,} files make a manifest of {len(data):,} bytes; registries take "
            f"{LARGEST_MANIFEST:,}",
            advice="Pack small files into one archive, or leave some out.",
        )
    digest, size = put(layout, data)
    return Descriptor(media_type=MANIFEST, digest=digest, size=size, artifact_type=manifest.artifact_type)
