"""Which system calls a sandboxed model may make, and with which arguments.

An allow-list: what is not named here is refused. Inference with numpy, scikit-learn, onnxruntime, LightGBM,
XGBoost and torch works under it (tests/sandbox/test_runtimes.py).

Three answers to a call that is not allowed:

- `EPERM` by default: libraries probe harmlessly (a process pool, a file to write), and must survive the no.
- `ENOSYS` where a C library falls back to an older call whose arguments a filter can read (`clone3`,
  `openat2`), and for calls newer than this list.
- death by SIGSYS for calls that no inference makes but an exploit does: the attempt itself becomes evidence.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from modelward.sandbox import libc


class OneOf(NamedTuple):
    """Holds when the low 32 bits of an argument are one of `values`."""

    argument: int
    values: tuple[int, ...]


class NoBits(NamedTuple):
    """Holds when the low 32 bits of an argument have none of the bits of `mask`."""

    argument: int
    mask: int


class IsNull(NamedTuple):
    """Holds when all 64 bits of an argument are zero (a null pointer)."""

    argument: int


class Self(NamedTuple):
    """Holds when an argument is the process's own id, or zero where the call takes zero for itself."""

    argument: int
    zero: bool


Condition = OneOf | NoBits | IsNull | Self

# Threads of glibc (first) and musl; any other flag, such as a new namespace or a new process, is refused.
_THREAD_FLAGS: Final = (0x3D0F00, 0x7D0F00)
# Numbers, not the names of the fcntl and os modules: those exist, and have these values, only on Linux.
_FCNTL: Final = (0, 1, 2, 3, 4, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
_IOCTL: Final = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_PATH, O_TMPFILE
_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o10000000 | 0o20000000

# name: (x86_64, aarch64); None where the architecture has no such call.
NUMBERS: Final[Mapping[str, tuple[int | None, int | None]]] = {
    # reading: Landlock decides which paths; the flags decide that it is reading
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "lseek": (8, 62),
    "close": (3, 57),
    "close_range": (436, 436),
    "fstat": (5, 80),
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "open": (2, None),
    "openat": (257, 56),
    "fadvise64": (221, 223),
    # descriptors; only the reply pipe and /dev/null are writable
    "write": (1, 64),
    "writev": (20, 66),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    # memory
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    # threads
    "clone": (56, 220),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_setaffinity": (203, 122),
    "membarrier": (324, 283),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "prctl": (157, 167),
    # signals to oneself
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "tgkill": (234, 131),
    # facts about oneself and the machine
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "prlimit64": (302, 261),
    # clocks
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
}

CONDITIONS: Final[Mapping[str, tuple[Condition, ...]]] = {
    "open": (NoBits(1, _WRITING),),
    "openat": (NoBits(2, _WRITING),),
    "clone": (OneOf(0, _THREAD_FLAGS),),
    "fcntl": (OneOf(1, _FCNTL),),
    "ioctl": (OneOf(1, _IOCTL),),
    "prctl": (OneOf(0, (libc.PR_SET_NAME, libc.PR_GET_NAME)),),
    "prlimit64": (Self(0, zero=True), IsNull(2)),
    "sched_setaffinity": (Self(0, zero=True),),
    "tgkill": (Self(0, zero=False),),
}

FALL_BACK: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "clone3": (435, 435),
    "openat2": (437, 437),
}

DEADLY: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "unshare": (272, 97),
    "setns": (308, 268),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "open_by_handle_at": (304, 265),
}

NEWEST_REVIEWED: Final = 462  # mseal, Linux 6.10; what came later answers ENOSYS
