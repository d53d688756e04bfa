"""All pickle streams of one buffer, one after the other."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.events import Event
from modelward.artifact.pickle.judge import Judge, Loader
from modelward.artifact.pickle.machine import STREAMS, Walk, walk
from modelward.artifact.pickle.opcodes import Reached

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

LEGACY_STREAMS: Final = 5
"""torch.save before 1.6 wrote magic number, version, system, object and storage keys, then raw storages."""


class Scanned(msgspec.Struct, frozen=True):
    """What the streams of one buffer do.

    Attributes:
        events: effects that were not proven harmless, in order of occurrence.
        streams: number of complete streams.
        arrays: number of joblib arrays passed over.
        end: offset after the last complete stream.
        unread: bytes after it that are not a stream.
        dropped: events beyond the limit, not kept.
        embedded: byte strings that are given to torch.load while a stream is loaded.
    """

    events: list[Event]
    streams: int
    arrays: int
    end: int
    unread: int
    dropped: int
    embedded: list[bytes]


def scan(data: Buffer, *, loader: Loader = "pickle", joblib: bool = False, start: int = 0) -> Scanned:
    """Walk every stream of a buffer.

    Args:
        data: the bytes; a memory map serves as well.
        loader: whose persistent ids are understood.
        joblib: array bodies follow their wrappers.
        start: offset of the first stream.

    Returns:
        the events of all streams. A first stream that does not end in STOP is an `unproven` event; what
        follows the last stream is walked too, but is only counted as unread when it is no stream.
    """
    collecting = gc.isenabled()
    gc.disable()  # millions of small values make the collector a third of the time, and few are in cycles
    try:
        return _scan(data, Judge(data, loader), joblib=joblib, start=start)
    except Reached:
        return _scan(data, Judge(data, loader, jumps=False), joblib=joblib, start=start)
    finally:
        if collecting:
            gc.enable()


def walked(data: Buffer, judge: Judge) -> Scanned:
    """Walk a pickle inside another one, by a judge of its own that makes no jumps."""
    return _scan(data, judge, joblib=False, start=0)


def _scan(data: Buffer, judge: Judge, *, joblib: bool, start: int) -> Scanned:
    loader = judge.loader
    end, streams, arrays = start, 0, 0
    while end < len(data) and streams < STREAMS:
        if loader == "torch-legacy" and streams == LEGACY_STREAMS:
            break
        known = set(judge.events)
        found = walk(judge, end, joblib=joblib)
        arrays += found.wrappers
        if found.broken is not None:
            _broken(judge, found, known, first=streams == 0 or loader == "torch-legacy")
            break
        streams, end = streams + 1, found.end
    if streams == STREAMS:
        judge.record(
            Event("pickle.budget", "unproven", f"more than {STREAMS} streams follow each other", end)
        )
    return Scanned(
        list(judge.events.values()), streams, arrays, end, len(data) - end, judge.dropped, judge.embedded
    )


def _broken(judge: Judge, found: Walk, known: set[tuple[str, str]], *, first: bool) -> None:
    """A stream that does not end: the first one is an event, a later one only what it did before it broke."""
    if first:
        message = f"the stream breaks off at byte {found.end}: {found.broken}"
        judge.record(Event("pickle.broken", "unproven", message, found.end))
        return
    for key in set(judge.events) - known:
        if judge.events[key].level != "dangerous" and judge.events[key].rule != "pickle.unknown-name":
            del judge.events[key]
