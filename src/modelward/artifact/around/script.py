"""Shell scripts: downloads that are run unseen, connections that are not checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.around.python.shell import insecure

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 1 << 20
"""Bytes of a script that are looked at."""


def read(data: Buffer, into: Reading) -> None:
    """Report the weaknesses of a shell script; it has no verdict."""
    if len(data) > LARGEST:
        into.note("source.unread", f"only the first {LARGEST} bytes of the script are looked at")
    text = bytes(data[:LARGEST]).decode("utf-8", "replace")
    number, pending, start = 0, "", 1
    for number, line in enumerate(text.splitlines(), 1):
        into.spend()
        if line.lstrip().startswith("#"):
            continue
        start = start if pending else number
        if line.endswith("\\") and len(pending) < 4096:
            pending += line[:-1] + " "
            continue
        _command(pending + line, start, into)
        pending = ""
    if pending:
        _command(pending, start, into)


def _command(command: str, line: int, into: Reading) -> None:
    for rule, severity, message, remedy in insecure(command):
        into.finding(f"source.{rule}", severity, message, line=line, remedy=remedy)
