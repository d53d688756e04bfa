"""Secrets on their way from a person to a key, so that none shows in a log, a repr or a traceback."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from modelward.errors import FileMissing, KeyUnusable, ModelwardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Ask: TypeAlias = Callable[[], bytes]
    Warn: TypeAlias = Callable[[str], None]

T = TypeVar("T")

VARIABLE: Final = "MODELWARD_PASSPHRASE"
_PUBLIC: Final = b"-----BEGIN PUBLIC KEY-----"
LARGEST: Final = 1 << 20  # bytes of a file that holds a key or a passphrase


def shielded(work: Callable[[], T]) -> T:
    """Run what handles a secret; a refusal leaves without the frames whose variables hold it.

    Raises:
        ModelwardError: what `work` raised, without cause, context or traceback.
    """
    try:
        return work()
    except ModelwardError as error:
        refusal = error.with_traceback(None)
        refusal.__cause__ = refusal.__context__ = None
    raise refusal


@contextmanager
def named(reference: str | Path) -> Iterator[None]:
    """What is wrong with a key is said with where it lies.

    Raises:
        KeyUnusable: as it was raised, the reference before it.
    """
    try:
        yield
    except KeyUnusable as error:
        raise KeyUnusable(f"{reference}: {error}", advice=error.advice) from error


def refuse_public(content: bytes, reference: str) -> None:
    """Tell who named the public half of a pair.

    Raises:
        KeyUnusable: it is one.
    """
    if content.startswith(_PUBLIC):
        private = reference.removesuffix(".pub")
        advice = f"Give the private one, such as {private}." if private != reference else None
        raise KeyUnusable(f"{reference}: is a public key, and a private one is asked for", advice=advice)


def read_secret_file(path: Path, warn: Warn) -> bytes:
    """Read a file that only its owner should be able to read.

    Args:
        path: a regular file, at most 1 MiB.
        warn: is told when its group or everybody may read it, unless it holds a public key.

    Raises:
        FileMissing: there is no such file, or it cannot be read.
        KeyUnusable: it is too large for a key or a passphrase.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > LARGEST:
        raise KeyUnusable(f"{path}: is larger than {LARGEST} bytes, so it is no key")
    secret = not data.startswith(_PUBLIC)
    if secret and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"{path}: others than its owner may read it; run `chmod 600` on it")
    return data


def passphrase_from(file: Path | None, prompt: Ask | None, warn: Warn) -> Ask | None:
    """Where a passphrase comes from: a file, the environment, a person, in this order; never an argument.

    Args:
        file: its first line is the passphrase.
        prompt: asks a person; null where there is no terminal.
        warn: is told when others may read the file.

    Returns:
        what gives the passphrase when it is needed; null where there is no source.
    """
    if file is not None:
        return lambda: first_line(file, warn)
    if VARIABLE in os.environ:
        return lambda: os.environb[VARIABLE.encode()]
    return prompt


def first_line(file: Path, warn: Warn) -> bytes:
    """The passphrase or PIN in a file; raises as `read_secret_file`, and `KeyUnusable` where it is empty."""
    line = read_secret_file(file, warn).split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise KeyUnusable(f"{file}: its first line, the secret, is empty")
    return line
