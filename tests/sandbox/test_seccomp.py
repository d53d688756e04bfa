"""The filter is run in a small interpreter of classic BPF, so both architectures are tested on either."""

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.sandbox import libc, seccomp, syscalls

PID = 4321
OTHER_ARCH = {"x86_64": 0x40000003, "aarch64": 0x40000028}  # i386, arm
MACHINES = sorted(seccomp.MACHINES)
NUMBERS = st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1))


def verdict(machine, number, *arguments, arch=None):
    """Run the program as the kernel does (linux/filter.h): one accumulator, forward jumps."""
    arch = seccomp.MACHINES[machine][1] if arch is None else arch
    padded = [argument % 2**64 for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    accumulator = place = 0
    program = seccomp.assemble(machine, PID)
    while True:
        code, when_true, when_false, constant = program[place]
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x06:
            return constant
        else:
            holds = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }
            place += when_true if holds[code] else when_false


def number(machine, name):
    column = seccomp.MACHINES[machine][0]
    for table in (syscalls.NUMBERS, syscalls.DEADLY, syscalls.FALL_BACK):
        if name in table:
            return table[name][column]
    raise KeyError(name)


@pytest.mark.parametrize(
    ("header", "column"), [("x86_64-linux-gnu/asm/unistd_64.h", 0), ("asm-generic/unistd.h", 1)]
)
def test_numbers_agree_with_the_kernel_headers(header, column):
    path = Path("/usr/include", header)
    if not path.exists():
        pytest.skip(f"{path} is not installed (Debian package linux-libc-dev)")
    text = path.read_text(encoding="ascii")
    known = {name: int(value) for name, value in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    known.setdefault("newfstatat", known.get("fstatat"))
    for table in (syscalls.NUMBERS, syscalls.DEADLY, syscalls.FALL_BACK):
        for name, numbers in table.items():
            assert numbers[column] == known.get(name), name


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_fits_the_kernel(machine):
    program = seccomp.assemble(machine, PID)
    assert len(program) < 4096  # BPF_MAXINSNS
    for place, (_, when_true, when_false, _) in enumerate(program):
        assert 0 <= when_true < 256
        assert 0 <= when_false < 256
        assert place + 1 + max(when_true, when_false) < len(program) or program[place][0] == 0x06


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_of_the_tables_gets_its_answer(machine):
    column = seccomp.MACHINES[machine][0]
    for name, numbers in syscalls.NUMBERS.items():
        if numbers[column] is not None and name not in syscalls.CONDITIONS:
            assert verdict(machine, numbers[column]) == seccomp.ALLOW, name
    for numbers in syscalls.DEADLY.values():
        assert verdict(machine, numbers[column]) == seccomp.KILL
    for numbers in syscalls.FALL_BACK.values():
        assert verdict(machine, numbers[column]) == seccomp.ABSENT


@pytest.mark.parametrize("machine", MACHINES)
@given(call=NUMBERS, arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_what_is_not_in_the_tables_is_refused(machine, call, arguments):
    column = seccomp.MACHINES[machine][0]
    answer = verdict(machine, call, *arguments)
    if call not in {numbers[column] for numbers in syscalls.NUMBERS.values()}:
        assert answer != seccomp.ALLOW
    if machine == "x86_64" and call >= 0x40000000:
        assert answer == seccomp.KILL


@pytest.mark.parametrize("machine", MACHINES)
@given(call=NUMBERS)
def test_another_architecture_is_killed(machine, call):
    assert verdict(machine, call, arch=OTHER_ARCH[machine]) == seccomp.KILL


@pytest.mark.parametrize("machine", MACHINES)
@given(flags=st.integers(0, 2**64 - 1))
def test_only_reading_is_opened(machine, flags):
    writing = flags & (0o3 | 0o100 | 0o1000 | 0o2000 | 0o10000000 | 0o20000000)
    want = seccomp.DENY if writing else seccomp.ALLOW
    assert verdict(machine, number(machine, "openat"), 3, 0, flags) == want
    if number(machine, "open") is not None:
        assert verdict(machine, number(machine, "open"), 0, flags) == want


HIGH = 0xABCD << 32  # the kernel looks at the low half of these arguments only
CASES = [
    ("clone", (0x3D0F00,), True),
    ("clone", (0x7D0F00,), True),
    ("clone", (0x3D0F00 | HIGH,), True),
    ("clone", (17,), False),
    ("clone", (0x3D0F00 | 0x10000000,), False),
    ("clone", (0x3D0F00 | 0x20000,), False),
    ("tgkill", (PID, 1, 6), True),
    ("tgkill", (0, 1, 6), False),
    ("tgkill", (PID + 1, 1, 6), False),
    ("prlimit64", (0, 7, 0, 99), True),
    ("prlimit64", (PID, 7, 0, 99), True),
    ("prlimit64", (1, 7, 0, 99), False),
    ("prlimit64", (0, 7, 1, 99), False),
    ("prlimit64", (0, 7, 1 << 32, 99), False),
    ("sched_setaffinity", (0,), True),
    ("sched_setaffinity", (PID,), True),
    ("sched_setaffinity", (1,), False),
    ("prctl", (libc.PR_SET_NAME,), True),
    ("prctl", (libc.PR_SET_DUMPABLE, 1), False),
    ("prctl", (libc.PR_SET_PDEATHSIG, 0), False),
    ("prctl", (libc.PR_SET_NAME | HIGH,), True),
    ("fcntl", (3, 1), True),
    ("fcntl", (3, 8), False),  # F_SETOWN: signals to others
    ("fcntl", (3, 1033), False),  # F_ADD_SEALS
    ("ioctl", (0, 0x5401), True),
    ("ioctl", (0, 0x5412), False),  # TIOCSTI: typing into the user's terminal
    ("ioctl", (0, 0x5412 | HIGH), False),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "allowed"), CASES)
def test_arguments_are_looked_at(machine, name, arguments, allowed):
    want = seccomp.ALLOW if allowed else seccomp.ERRNO | errno.EPERM
    assert verdict(machine, number(machine, name), *arguments) == want


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_newer_than_the_review_are_absent(machine):
    assert verdict(machine, syscalls.NEWEST_REVIEWED) == seccomp.DENY
    assert verdict(machine, syscalls.NEWEST_REVIEWED + 1) == seccomp.ERRNO | errno.ENOSYS


def test_tables_do_not_contradict_each_other():
    names = [*syscalls.NUMBERS, *syscalls.DEADLY, *syscalls.FALL_BACK]
    assert len(names) == len(set(names))
    assert set(syscalls.CONDITIONS) <= set(syscalls.NUMBERS)
