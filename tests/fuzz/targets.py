"""What is fuzzed: the whole inspection, each format's reader, and each parser below them.

A target takes bytes and raises nothing but what its parser promises; everything else is a fault.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from modelward.artifact import compress, lz4, npy, sevenread, sniff, tarread, yaml, zipread
from modelward.artifact.events import Broken
from modelward.artifact.formats import jinja, protobuf, table
from modelward.artifact.pickle import streams
from modelward.artifact.reading import Exhausted, Malformed, Reading
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1 << 20
ALLOWED = (InputError, Malformed, Exhausted, Broken, compress.TooLarge, sevenread.Unreadable)


def reader(kind: str) -> Callable[[bytes], None]:
    """The target of one format: its readers, as if the content had been recognised as it."""

    def target(data: bytes) -> None:
        if not data:
            return  # nothing is recognised as anything
        for read in table.readers(kind):
            found = Reading("model")
            with suppress(Malformed, Exhausted):
                read(data, found)
            checked(found)

    return target


def checked(found: Reading) -> None:
    """What every reading must be, whatever the content."""
    assert all(event.level in {"dangerous", "unproven", "note"} for event in found.events)
    assert all(event.message and event.rule for event in found.events)


def whole(data: bytes) -> None:
    report = inspect_bytes(data, "model.bin")
    assert report.verdict in {"inert", "dangerous", "unproven", "error", None}
    assert report.coverage.bytes == len(data)


def pickles(data: bytes) -> None:
    for loader in ("pickle", "torch", "torch-legacy"):
        result = streams.scan(data, loader=loader, joblib=loader == "pickle")
        assert 0 <= result.end <= len(data)


def wire(data: bytes) -> None:
    found = Reading("model")
    for field in protobuf.fields(data, (0, len(data)), found.spend):
        assert field


def members(data: bytes) -> None:
    archive = zipread.Archive(data)
    for member in archive.members:
        assert member.name is not None


def tar(data: bytes) -> None:
    for index, _ in enumerate(tarread.entries(data)):
        assert index <= len(data)


def seven(data: bytes) -> None:
    directory = sevenread.directory(data)
    for folder in directory.folders:
        sevenread.unfold(data, folder, LIMIT)


def frames(data: bytes) -> None:
    out, _ = lz4.decompress_frames(data, LIMIT)
    assert len(out) <= LIMIT


def codecs(data: bytes) -> None:
    codec = sniff.compression(data)
    if codec and compress.readable(codec):
        out, _ = compress.decompress(data, codec, LIMIT)
        assert len(out) <= LIMIT


def documents(data: bytes) -> None:
    for root in yaml.parse(data.decode("utf-8", "replace")):
        for node in yaml.walk(root):
            assert node is not None


def template(data: bytes) -> None:
    found = Reading("model")
    with suppress(Malformed, Exhausted):
        jinja.judge(data.decode("utf-8", "replace"), found, "template")
    checked(found)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "whole": whole,
    "pickle": pickles,
    "sniff": sniff.sniff,
    "npy": npy.header,
    "zip": members,
    "tar": tar,
    "7z": seven,
    "lz4": frames,
    "codecs": codecs,
    "yaml": documents,
    "jinja": template,
    "protobuf": wire,
}
TARGETS: dict[str, Callable[[bytes], object]] = {
    **PARSERS,
    **{f"format-{kind}": reader(kind) for kind in (*table._FORMATS, *table._AROUND)},
}
