"""How much a sandboxed process may use."""

from typing import final

import msgspec

from modelward import errors


@final
class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one sandboxed process.

        Limits()                        # 30 s a call, 300 CPU seconds, 2 GiB, replies of 256 MiB
        Limits(wall_seconds=2)          # a call that takes longer is ended
        Limits(memory_bytes=1 << 30)    # 1 GiB beyond what the preloaded libraries map

    Attributes:
        wall_seconds: time from a call to its whole answer; also for loading the model.
        cpu_seconds: CPU time of the process over its life (RLIMIT_CPU).
        memory_bytes: address space beyond what is mapped when the process locks itself (RLIMIT_AS).
        reply_bytes: largest answer, arrays included.

    Raises:
        errors.ConfigInvalid: a limit is not positive.
    """

    wall_seconds: float = 30.0
    cpu_seconds: int = 300
    memory_bytes: int = 2 << 30
    reply_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        """Refuse limits that would allow nothing, or everything (NaN compares false)."""
        for name in ("wall_seconds", "cpu_seconds", "memory_bytes", "reply_bytes"):
            value = getattr(self, name)
            if not 0 < value < 1 << 62:
                raise errors.ConfigInvalid(
                    f"the sandbox limit {name} is {value}, and must be positive and finite"
                )
