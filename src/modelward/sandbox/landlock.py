"""Deny the file system, TCP, abstract sockets and signals by Landlock (`linux/landlock.h`, ABI 1 to 7).

A newer ABI only adds rights to deny, so everything the running kernel knows is denied; ABI 7 adds audit of
refusals, which is on by default.
"""

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from modelward.sandbox import libc

_CREATE_RULESET: Final = 444  # the same numbers on every architecture
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_RIGHTS_OF_ABI_1: Final = 13  # execute, read, write, remove, make
_REFER_ABI, _TRUNCATE_ABI, _IOCTL_ABI = 2, 3, 5
_NET_ABI: Final = 4
_NET: Final = 0b11  # bind and connect TCP
_SCOPE_ABI: Final = 6
_SCOPE: Final = 0b11  # abstract unix sockets, signals


def abi() -> int:
    """The Landlock version of this kernel, 0 where there is none."""
    try:
        return libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def ruleset(version: int) -> bytes:
    """`struct landlock_ruleset_attr` that handles, hence denies, everything that ABI `version` knows."""
    added = sum(version >= since for since in (_REFER_ABI, _TRUNCATE_ABI, _IOCTL_ABI))
    fields = [(1 << (_RIGHTS_OF_ABI_1 + added)) - 1]
    if version >= _NET_ABI:
        fields.append(_NET)
    if version >= _SCOPE_ABI:
        fields.append(_SCOPE)
    return struct.pack(f"={len(fields)}Q", *fields)


def restrict(readable: Iterable[Path], optional: Iterable[Path]) -> None:
    """Deny this process everything but reading beneath the given paths, for good; requires no_new_privs.

    Args:
        readable: files or directories; each must exist.
        optional: the same, skipped where absent.

    Raises:
        OSError: a path of `readable` does not exist, or the kernel refused.
    """
    attributes = ruleset(abi())
    rules = libc.syscall(
        _CREATE_RULESET, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), 0
    )
    try:
        for path in readable:
            _allow_reading(rules, path)
        for path in optional:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow_reading(rules, path)
        libc.syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow_reading(rules: int, path: Path) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        directory = stat.S_ISDIR(os.fstat(handle).st_mode)
        rights = _READ_FILE | _READ_DIR if directory else _READ_FILE
        rule = struct.pack("=Qi", rights, handle)
        libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0)
    finally:
        os.close(handle)
