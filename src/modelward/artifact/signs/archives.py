"""Archives by what they hold: TorchScript, torch.export, Keras, MAR, NeMo, skops, 7z; native code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed
from modelward.artifact.names import join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.zipread import Archive

SEVENZIP: Final = b"7z\xbc\xaf\x27\x1c"
_MACHO: Final = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
_ENTRIES: Final = 2_000
"""Most members of a tar archive asked for their names to find out what it is."""


def sign(data: Buffer, head: bytes) -> Sniffed | None:
    """Format of the content, or None when no rule of this group applies.

    Args:
        data: the whole content.
        head: its first 64 KiB.
    """
    if head.startswith(SEVENZIP) and len(data) >= 32:
        return Sniffed("7z", "starts with the signature of 7z")
    if head.startswith(b"\x7fELF") and head[4:5] in {b"\x01", b"\x02"}:
        return Sniffed("native-code", "starts as an ELF file")
    if head.startswith(_MACHO):
        return Sniffed("native-code", "starts as a Mach-O file")
    if head.startswith(b"MZ") and len(head) >= 64:
        at = int.from_bytes(head[60:64], "little")
        if head[at : at + 4] == b"PE\0\0":
            return Sniffed("native-code", "starts as a PE file")
    if head[257:262] != b"ustar":
        from modelward.artifact.tarread import is_header

        if is_header(head[:512]):
            return tar_kind(data)
    return None


def zip_kind(archive: Archive) -> Sniffed:
    """What a zip archive is, by the names of its members."""
    return next(zip_kinds(archive))


def zip_kinds(archive: Archive) -> Iterator[Sniffed]:
    """All that a zip archive is to one loader or another, that of the first most likely.

    PyTorch looks its members up without regard to case, and unpacking makes one of `./name` and `name`.
    """
    names = {join("", member.name) or member.name for member in archive.members}
    lower = {name.lower() for name in names}
    leaves = {name.rsplit("/", 1)[-1] for name in lower}
    inner = {name.split("/", 1)[-1] for name in lower}
    if "schema.json" in names:
        yield Sniffed("skops", "a zip archive with schema.json")
    if "MAR-INF/MANIFEST.json" in names:
        yield Sniffed("mar", "a zip archive with MAR-INF/MANIFEST.json")
    if "archive_format" in leaves or {"serialized_exported_program.json", "models/model.json"} & (
        lower | inner
    ):
        yield Sniffed("torch-export", "a zip archive with archive_format or an exported program")
    if any(name.startswith("data/archive") for name in lower) or any(
        name.endswith((".data/extern_modules", ".data/python_version")) for name in lower
    ):
        yield Sniffed("torch-package", "a zip archive with torch.package's folder")
    if leaves & {"constants.pkl", "bytecode.pkl"} or any(name.startswith("code/") for name in inner):
        yield Sniffed("torchscript", "a zip archive with TorchScript code, constants.pkl or bytecode.pkl")
    if "data.pkl" in leaves:
        yield Sniffed("torch-zip", "a zip archive with data.pkl")
    if "config.json" in names and names & {"model.weights.h5", "metadata.json"}:
        yield Sniffed("keras", "a zip archive with config.json and weights or metadata")
    if names and all(name.endswith(".npy") for name in names):
        yield Sniffed("npz", "a zip archive of npy members")
    yield Sniffed("zip", f"a zip archive of {len(archive.members)} members")


def tar_kind(data: Buffer) -> Sniffed:
    """What a tar archive is, by the names of its members."""
    from modelward.artifact.tarread import Trouble, entries

    for count, entry in enumerate(entries(data)):
        if count > _ENTRIES:
            break
        if isinstance(entry, Trouble):
            continue
        if entry.name.rsplit("/", 1)[-1] == "model_config.yaml":
            return Sniffed("nemo", "a tar archive with model_config.yaml")
        if (join("", entry.name) or entry.name) == "MAR-INF/MANIFEST.json":
            return Sniffed("mar", "a tar archive with MAR-INF/MANIFEST.json")
    return Sniffed("tar", "has a header of tar")
