"""Lock the calling process: descriptors, rlimits, capabilities, Landlock, seccomp, in that order.

`lock` is called in a freshly forked, single-threaded process that is about to touch something untrusted. It
either succeeds completely, proven by attempts that must fail, or raises; there is no "as far as possible".
"""

import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modelward import errors
from modelward.sandbox import kernel, landlock, libc, seccomp
from modelward.sandbox.limits import Limits

_CLOSE_RANGE: Final = 436  # the same number on every architecture; older than Landlock
_OPEN_FILES: Final = 64
_TASKS: Final = 4096  # RLIMIT_NPROC counts all tasks of the user, so it can only be a backstop
_DEVICES: Final = (Path("/dev/null"), Path("/dev/urandom"))


def tasks() -> int:
    """How many threads this process has."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def lock(
    readable: Sequence[Path], libraries: Sequence[Path], limits: Limits, *, keep: tuple[int, int]
) -> None:
    """Lock this process for good.

    Args:
        readable: files or directories the process may read from now on; each must exist.
        libraries: where Python and its packages are; also readable, skipped where absent.
        limits: rlimits to set.
        keep: the only two descriptors, besides the standard three, that stay open: requests and replies.

    Raises:
        errors.SandboxUnavailable: the process has several threads, a path needs privileges to be read, or
            an attempt that must fail succeeded.
        OSError: a path of `readable` does not exist, or the kernel refused.
    """
    machine = kernel.protection()
    if (count := tasks()) != 1:
        raise errors.SandboxUnavailable(
            f"the process to lock has {count} threads, and a lock would miss some"
        )
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    low, high = sorted(keep)
    for first, last in ((3, low - 1), (low + 1, high - 1), (high + 1, 0xFFFFFFFF)):
        if first <= last:
            libc.syscall(_CLOSE_RANGE, first, last, 0)
    _limit(limits, mapped)
    libc.drop_capabilities(machine)
    for path in readable:
        if not os.access(path, os.R_OK):
            raise errors.SandboxUnavailable(f"{path} can be read only with privileges, which a sandbox lacks")
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    landlock.restrict(readable, (*libraries, *_DEVICES))
    seccomp.install(machine)
    _prove()


def _limit(limits: Limits, mapped: int) -> None:
    for kind, soft, hard in (
        (resource.RLIMIT_AS, mapped + limits.memory_bytes, mapped + limits.memory_bytes),
        (
            resource.RLIMIT_CPU,
            limits.cpu_seconds,
            limits.cpu_seconds + 1,
        ),  # SIGXCPU names the reason, then SIGKILL
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_NPROC, _TASKS, _TASKS),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_RTPRIO, 0, 0),
    ):
        now = [
            value if value != resource.RLIM_INFINITY else sys.maxsize for value in resource.getrlimit(kind)
        ]
        resource.setrlimit(kind, (min(soft, *now), min(hard, now[1])))


def _prove() -> None:
    """Attempt what must now fail, one attempt per layer."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    except PermissionError as refusal:
        if refusal.errno != errno.EACCES:
            raise
    else:
        raise errors.SandboxUnavailable("Landlock is in force, yet the root directory could be listed")
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    except PermissionError:
        return
    raise errors.SandboxUnavailable("the system call filter is in force, yet a socket could be opened")
