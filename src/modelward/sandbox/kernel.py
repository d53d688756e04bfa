"""Whether this kernel can protect; importable everywhere, so that the refusal is one clear sentence."""

import platform
import sys

from modelward import errors
from modelward.sandbox import landlock, seccomp


def protection() -> str:
    """The machine name this kernel and processor can be locked for.

    Raises:
        errors.SandboxUnavailable: not Linux, an architecture without a table, no Landlock or no seccomp.
    """
    if sys.platform != "linux":
        raise errors.SandboxUnavailable(f"the sandbox needs Linux, and this is {sys.platform}")
    machine = platform.machine()
    if machine not in seccomp.MACHINES or sys.maxsize < 1 << 32:
        known = " and ".join(seccomp.MACHINES)
        raise errors.SandboxUnavailable(
            f"the sandbox knows the system calls of 64-bit {known}, not of {machine}"
        )
    if landlock.abi() < 1:
        raise errors.SandboxUnavailable(
            "this kernel has no Landlock, or it was not enabled at boot (lsm=landlock)"
        )
    if not seccomp.available(machine):
        raise errors.SandboxUnavailable("this kernel cannot filter system calls (no seccomp)")
    return machine
