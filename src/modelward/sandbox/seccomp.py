"""Assemble and install the system call filter (classic BPF; `man 2 seccomp`, Linux 6.18).

The program is a list of blocks, one per call, each ending in a return. The kernel remembers which calls are
allowed whatever their arguments (since Linux 5.11), so its length costs nothing on the usual path.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence
from typing import Final, assert_never

from modelward.sandbox import libc
from modelward.sandbox.syscalls import (
    CONDITIONS,
    DEADLY,
    FALL_BACK,
    NEWEST_REVIEWED,
    NUMBERS,
    Condition,
    IsNull,
    NoBits,
    OneOf,
    Self,
)

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
ERRNO: Final = 0x00050000
DENY: Final = ERRNO | errno.EPERM
ABSENT: Final = ERRNO | errno.ENOSYS

# machine: (column in the tables, AUDIT_ARCH of linux/audit.h, number of seccomp(2))
MACHINES: Final = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_NUMBER_AT: Final = 0
_ARCH_AT: Final = 4
_ARGUMENTS_AT: Final = 16
_X32_BIT: Final = 0x40000000
_SET_MODE_FILTER: Final = 1
_GET_ACTION_AVAIL: Final = 2

Instruction = tuple[int, int, int, int]


def assemble(machine: str, own_pid: int) -> list[Instruction]:
    """The filter as instructions `(code, jump if true, jump if false, constant)`.

    Args:
        machine: "x86_64" or "aarch64".
        own_pid: the process's id, the only one it may signal or schedule.
    """
    column, arch, _ = MACHINES[machine]
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":  # the x32 calls share this architecture's token, and would slip past the numbers
        program += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, KILL)]
    for name, numbers in NUMBERS.items():
        program += _block(numbers[column], CONDITIONS.get(name, ()), own_pid)
    for table, action in ((FALL_BACK, ABSENT), (DEADLY, KILL)):
        for numbers in table.values():
            if (number := numbers[column]) is not None:
                program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, action)]
    program += [(_AT_LEAST, 0, 1, NEWEST_REVIEWED + 1), (_RETURN, 0, 0, ABSENT), (_RETURN, 0, 0, DENY)]
    return program


def _block(number: int | None, conditions: Sequence[Condition], own_pid: int) -> list[Instruction]:
    if number is None:
        return []
    body: list[Instruction] = []
    for condition in conditions:
        body += _test(condition, own_pid)
    body.append((_RETURN, 0, 0, ALLOW))
    return [(_EQUAL, 0, len(body), number), *body]


def _test(condition: Condition, own_pid: int) -> list[Instruction]:
    """Instructions that fall through when the condition holds and return DENY when it does not."""
    low = _ARGUMENTS_AT + 8 * condition.argument  # both architectures are little-endian
    deny: Instruction = (_RETURN, 0, 0, DENY)
    match condition:
        case OneOf(values=values):
            # each match jumps over the remaining comparisons and the refusal
            tests: list[Instruction] = [
                (_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)
            ]
            return [(_LOAD, 0, 0, low), *tests, deny]
        case NoBits(mask=mask):
            return [(_LOAD, 0, 0, low), (_ANY_BIT, 0, 1, mask), deny]
        case IsNull():
            return [(_LOAD, 0, 0, low), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, low + 4), (_EQUAL, 1, 0, 0), deny]
        case Self(argument=argument, zero=zero):
            return _test(OneOf(argument, (own_pid, 0) if zero else (own_pid,)), own_pid)
        case _:
            assert_never(condition)


def available(machine: str) -> bool:
    """Whether this kernel filters system calls and can kill a whole process from a filter."""
    action = ctypes.create_string_buffer(struct.pack("=I", KILL), 4)
    try:
        libc.syscall(MACHINES[machine][2], _GET_ACTION_AVAIL, 0, action)
    except OSError:
        return False
    return sys.byteorder == "little"


def install(machine: str) -> None:
    """Install the filter in this process for good; requires no_new_privs.

    Raises:
        OSError: the kernel refused.
    """
    program = assemble(machine, os.getpid())
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(program), ctypes.addressof(instructions))
    libc.syscall(MACHINES[machine][2], _SET_MODE_FILTER, 0, ctypes.create_string_buffer(header, len(header)))
