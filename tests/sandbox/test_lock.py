"""Where the kernel cannot protect, nothing is run; what the kernel offers is used in full."""

import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from modelward import errors
from modelward.sandbox import Sandbox, landlock, libc, seccomp, warm

SOURCE = Path(warm.__file__).parents[2]


def test_another_system_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(errors.SandboxUnavailable, match="needs Linux, and this is darwin"):
        Sandbox.start("behaviours:entry", readable=[])


def test_the_refusal_is_importable_where_unix_modules_are_absent():
    code = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
import ctypes, os
sys.modules.update(fcntl=None, resource=None)
del os.register_at_fork, os.O_PATH
ctypes.CDLL = None
sys.platform = "win32"
from modelward import errors, sandbox
try:
    sandbox.Sandbox.start("behaviours:entry", readable=[])
except errors.SandboxUnavailable as refusal:
    print(refusal)
"""
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "the sandbox needs Linux, and this is win32\n"


@pytest.mark.parametrize("machine", ["riscv64", "i686", "armv7l"])
def test_another_architecture_is_refused(monkeypatch, machine):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(errors.SandboxUnavailable, match=machine):
        Sandbox.start("behaviours:entry", readable=[])


def refuse(*arguments):
    raise OSError(38, "Function not implemented")


def test_a_kernel_without_landlock_is_refused(monkeypatch):
    monkeypatch.setattr(libc, "syscall", refuse)
    assert landlock.abi() == 0
    with pytest.raises(errors.SandboxUnavailable, match="no Landlock"):
        Sandbox.start("behaviours:entry", readable=[])


def test_a_kernel_without_seccomp_is_refused(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 7)
    monkeypatch.setattr(libc, "syscall", refuse)
    assert not seccomp.available(platform.machine())
    with pytest.raises(errors.SandboxUnavailable, match="no seccomp"):
        Sandbox.start("behaviours:entry", readable=[])


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        (1, ((1 << 13) - 1,)),
        (2, ((1 << 14) - 1,)),
        (3, ((1 << 15) - 1,)),
        (4, ((1 << 15) - 1, 3)),
        (5, ((1 << 16) - 1, 3)),
        (6, ((1 << 16) - 1, 3, 3)),
        (7, ((1 << 16) - 1, 3, 3)),
    ],
)
def test_each_landlock_version_denies_all_it_knows(version, fields):
    # linux/landlock.h: 13 rights in ABI 1, then REFER, TRUNCATE, IOCTL_DEV; TCP in 4; scopes in 6
    assert landlock.ruleset(version) == struct.pack(f"={len(fields)}Q", *fields)


def test_the_running_kernel_accepts_the_whole_ruleset():
    attributes = landlock.ruleset(landlock.abi())
    code = (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True);"
        f"raise SystemExit(libc.syscall(444, {attributes!r}, ctypes.c_long({len(attributes)}), 0) < 0)"
    )
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0


PRELUDE = f"""
import ctypes, os, socket, sys, threading, time
sys.path.insert(0, {str(SOURCE)!r})
from pathlib import Path
from modelward import errors
from modelward.sandbox import landlock, libc, lock, seccomp
from modelward.sandbox.limits import Limits
pipes = os.pipe()
def locked():
    lock.lock((), (), Limits(), keep=pipes)
"""


def run(code):
    """Run code that locks its own process; its last words come from the return code and stderr."""
    return subprocess.run(
        [sys.executable, "-I", "-c", PRELUDE + code], capture_output=True, text=True, check=False, timeout=30
    )


def test_a_process_with_threads_is_not_locked():
    result = run("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nlocked()")
    assert "SandboxUnavailable: the process to lock has 2 threads" in result.stderr


@pytest.mark.parametrize(
    ("module", "function", "why"),
    [
        ("landlock", "restrict", "root directory could be listed"),
        ("seccomp", "install", "socket could be opened"),
    ],
)
def test_a_layer_that_silently_does_nothing_is_noticed(module, function, why):
    result = run(f"{module}.{function} = lambda *arguments: None\nlocked()")
    assert f"SandboxUnavailable: Landlock is in force, yet the {why}" in result.stderr or why in result.stderr
    assert result.returncode == 1


def test_each_layer_alone_holds_its_part():
    # without seccomp, Landlock still refuses files, TCP, abstract sockets and signals
    result = run("""
seccomp.install = lambda *arguments: None
parent = os.getppid()
server = socket.create_server(("127.0.0.1", 0)); port = server.getsockname()[1]
lock._prove = lambda: None
locked()
from contextlib import suppress
def refused(action):
    try:
        action()
    except PermissionError:
        return True
    return False
print(refused(lambda: Path("/etc/passwd").read_bytes()), refused(lambda: Path("/tmp/modelward-x").write_bytes(b"")),
      refused(lambda: socket.create_connection(("127.0.0.1", port), 1)) or landlock.abi() < 4,
      refused(lambda: os.kill(parent, 0)) or landlock.abi() < 6)
""")
    assert result.stdout.split() == ["True"] * 4, result


def test_capabilities_are_gone():
    result = run("""
status = os.open("/proc/self/status", os.O_RDONLY)
os.dup2(status, pipes[0])
locked()
text = os.pread(pipes[0], 1 << 14, 0).decode()
print(*(line.split()[1] for line in text.splitlines() if line.startswith(("CapEff", "CapPrm", "NoNewPrivs", "Seccomp:"))))
""")
    assert result.stdout.split() == ["0" * 16, "0" * 16, "1", "2"], result


def test_a_model_that_only_privileges_can_read_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root has privileges to lose")
    path = tmp_path / "model"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(
        errors.SandboxUnavailable, match="can be read only with privileges, which a sandbox lacks"
    ):
        Sandbox.start("behaviours:reads_model", readable=[path])


def test_lower_limits_of_the_caller_are_kept():
    result = run("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
resource.setrlimit(resource.RLIMIT_CPU, (5, 6))
locked()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), *resource.getrlimit(resource.RLIMIT_CPU))
""")
    assert result.stdout.split() == ["32", "32", "5", "6"], result


def test_tasks_counts_threads():
    result = run(
        "print(lock.tasks())\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint(lock.tasks())"
    )
    assert result.stdout.split() == ["1", "2"]
