"""The few C-library entry points the sandbox calls, with errors raised as `OSError`.

System call numbers and structure layouts: Linux 6.18 user-space headers (`asm/unistd_64.h`,
`asm-generic/unistd.h`, `linux/landlock.h`, `linux/seccomp.h`, `linux/capability.h`).
"""

import ctypes
import functools
import os
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_GET_NAME: Final = 16
PR_SET_NO_NEW_PRIVS: Final = 38

_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}


@functools.cache  # opened on first use, so that the room can be imported, and refuse, on other systems
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make one system call.

    Args:
        number: the call's number on this architecture.
        arguments: integers, buffers (passed by address) or None (a null pointer).

    Returns:
        The call's result, never negative.

    Raises:
        OSError: the kernel refused; `errno` says why.
    """
    # a buffer or None is passed by address; a plain integer would be cut to 32 bits
    words = [ctypes.c_ulong(item) if isinstance(item, int) else item for item in arguments]
    result = int(_library().syscall(ctypes.c_long(number), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, value: int) -> None:
    """Set one attribute of the calling process.

    Raises:
        OSError: the kernel refused.
    """
    zero = ctypes.c_ulong(0)
    if _library().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def drop_capabilities(machine: str) -> None:
    """Give up every capability of this thread, so that a root process keeps no privilege but its user id.

    Raises:
        OSError: the kernel refused.
    """
    header = ctypes.create_string_buffer(_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), 8)
    empty = ctypes.create_string_buffer(24)  # two sets of (effective, permitted, inheritable), all zero
    syscall(_CAPSET[machine], header, empty)
