# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH123, PTH208, PTH211, S103, S606 -- system calls as an attacker makes them
"""Attempts to get out of the sandbox; each returns when it got out and raises when it was stopped.

The same functions run locked (through `entry`) and unlocked (this file as a program), so that every refusal is
shown to be the sandbox's doing.
"""

import ctypes
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
NUMBERS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "mount": (165, 40),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "setns": (308, 268),
    "personality": (135, 92),
    "openat2": (437, 437),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "clone3": (435, 435),
    "clone": (56, 220),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "shmget": (29, 194),
    "shmctl": (31, 195),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "execveat": (322, 281),
    "renameat2": (316, 276),
    "fchmodat": (268, 53),
    "kcmp": (312, 272),
    "landlock_create_ruleset": (444, 444),
    "setrlimit": (160, 164),
}
EXEC_STATUS = 42


def call(name, *arguments):
    words = [ctypes.c_ulong(item & (2**64 - 1)) if isinstance(item, int) else item for item in arguments]
    result = LIBC.syscall(ctypes.c_long(NUMBERS[name][COLUMN]), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


# --- network


def tcp_connect(world):
    socket.create_connection(("127.0.0.1", world["port"]), 2).close()


def tcp_listen(world):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def udp_send(world):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"secret", ("127.0.0.1", world["port"]))


def dns(world):
    socket.getaddrinfo("localhost", 80)


def unix_connect(world):
    with socket.socket(socket.AF_UNIX) as out:
        out.connect(world["unix"])


def abstract_connect(world):
    with socket.socket(socket.AF_UNIX) as out:
        out.connect("\0" + world["abstract"])


def netlink(world):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def socket_pair(world):
    for end in socket.socketpair():
        end.close()


# --- writing


def write_new(world):
    Path(world["folder"], "new").write_bytes(b"x")


def write_append(world):
    with open(world["other"], "ab") as file:
        file.write(b"x")


def write_model(world):
    with open(world["model"], "r+b") as file:
        file.write(b"x")


def write_dev_shm(world):
    path = Path("/dev/shm", f"modelward-{os.getpid()}")
    path.write_bytes(b"x")
    path.unlink()


def write_through_proc_fd(world):
    with open(world["model"], "rb") as file:
        os.close(os.open(f"/proc/self/fd/{file.fileno()}", os.O_WRONLY))


def write_shared_map(world):
    with open(world["model"], "r+b") as file, mmap.mmap(file.fileno(), 1) as view:
        view[0] = 0


def write_own_memory_file(world):
    with open("/proc/self/mem", "r+b") as file:
        file.read(0)


def truncate_path(world):
    os.truncate(world["other"], 0)


def truncate_by_opening(world):
    os.close(os.open(world["model"], os.O_RDONLY | os.O_TRUNC))


def unlink(world):
    os.unlink(world["other"])


def unlink_model(world):
    os.unlink(world["model"])


def rename(world):
    os.rename(world["other"], world["other"] + "2")


def rename_exchange(world):
    call("renameat2", -100, world["other"].encode(), -100, world["model"].encode(), 2)


def hard_link(world):
    os.link(world["other"], world["other"] + "3")


def symlink(world):
    os.symlink(world["other"], world["other"] + "4")


def chmod(world):
    os.chmod(world["other"], 0o777)


def chmod_model(world):
    call("fchmodat", -100, world["model"].encode(), 0o777)


def chown(world):
    os.chown(world["model"], os.getuid(), os.getgid())


def utime(world):
    os.utime(world["model"], (1, 1))


def setxattr(world):
    os.setxattr(world["model"], "user.modelward", b"x")


def mkdir(world):
    os.mkdir(world["other"] + "5")


def rmdir(world):
    os.rmdir(world["empty"])


def mkfifo(world):
    os.mkfifo(world["other"] + "6")


def memfd(world):
    os.close(os.memfd_create("x"))


# --- reading


def read_secret(world):
    return Path(world["secret"]).read_bytes()


def read_secret_in_thread(world):
    failures = []

    def read():
        try:
            read_secret(world)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def read_secret_by_dotdot(world):
    return Path(world["model"]).parent.joinpath("..", "folder", "secret").read_bytes()


def read_secret_by_chdir(world):
    os.chdir(world["folder"])
    return Path("secret").read_bytes()


def read_secret_by_directory_handle(world):
    folder = os.open(world["folder"], os.O_PATH | os.O_DIRECTORY)
    return os.read(os.open("secret", os.O_RDONLY, dir_fd=folder), 9)


def read_secret_by_path_handle(world):
    handle = os.open(world["secret"], os.O_PATH)
    return os.read(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY), 9)


def read_secret_by_openat2(world):
    how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_RDONLY, 0, 0), 24)
    os.close(call("openat2", -100, world["secret"].encode(), how, 24))


def read_secret_by_file_handle(world):
    # the "shocker" attack: a file handle bypasses every path check
    size = 128
    handle = ctypes.create_string_buffer(struct.pack("=Ii", size, 0) + bytes(size), 8 + size)
    mount_id = ctypes.create_string_buffer(4)
    inside = "SANDBOXED" in globals()
    if not inside:
        call("name_to_handle_at", -100, world["secret"].encode(), handle, mount_id, 0)
    anchor = os.open(world["model"], os.O_RDONLY)
    os.close(call("open_by_handle_at", anchor, handle, os.O_RDONLY))


def read_secret_by_hard_link(world):
    os.link(world["secret"], world["model"] + ".link")
    return Path(world["model"] + ".link").read_bytes()


def read_passwd(world):
    return Path("/etc/passwd").read_bytes()


def list_folder(world):
    return os.listdir(world["folder"])


def list_root(world):
    return os.listdir("/")


def read_inherited_handle(world):
    return os.pread(world["handle"], 9, 0)


def read_environment(world):
    if os.environ.get("MODELWARD_TEST_SECRET") is None:
        raise PermissionError(1, "no such variable")


def read_environment_file(world):
    if b"MODELWARD_TEST_SECRET" not in Path("/proc/self/environ").read_bytes():
        raise PermissionError(1, "no such variable")


def read_environment_of_victim(world):
    return Path(f"/proc/{world['victim']}/environ").read_bytes()


def read_environment_of_parent(world):
    return Path(f"/proc/{os.getppid()}/environ").read_bytes()


def read_memory_of_victim(world):
    with open(f"/proc/{world['victim']}/mem", "rb"):
        pass


def read_root_of_init(world):
    return os.listdir("/proc/1/root/")


# --- other processes


def fork(world):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def spawn(world):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def clone_process(world):
    pid = call("clone", signal.SIGCHLD, None, None, None, None)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def clone3_process(world):
    arguments = ctypes.create_string_buffer(struct.pack("=8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
    pid = call("clone3", arguments, 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def execute(world):
    os.execv("/bin/sh", ["sh", "-c", f"exit {EXEC_STATUS}"])


def execute_memory(world):
    program = os.memfd_create("x", 0)
    os.write(program, f"#!/bin/sh\nexit {EXEC_STATUS}\n".encode())
    os.execve(program, ["x"], {})


def execute_at(world):
    name, zero = ctypes.create_string_buffer(b"sh"), ctypes.c_void_p(None)
    argv = (ctypes.c_char_p * 4)(name.value, b"-c", f"exit {EXEC_STATUS}".encode(), None)
    call("execveat", -100, b"/bin/sh", argv, zero, 0)


def signal_victim(world):
    os.kill(world["victim"], signal.SIGCONT)


def signal_parent(world):
    os.kill(os.getppid(), 0)


def signal_everyone(world):
    os.kill(-1, 0)


def signal_thread_of_victim(world):
    call("tgkill", world["victim"], world["victim"], signal.SIGCONT)


def signal_by_pidfd(world):
    signal.pidfd_send_signal(os.pidfd_open(world["victim"]), signal.SIGCONT)


def signal_by_owner(world):
    import fcntl

    reader, writer = (0, 1)
    fcntl.fcntl(reader, fcntl.F_SETOWN, world["victim"])
    return writer


def ptrace(world):
    call("ptrace", 16, world["victim"], None, None)  # PTRACE_ATTACH
    os.waitpid(world["victim"], 0)


def read_process_memory(world):
    buffer = ctypes.create_string_buffer(9)
    local = struct.pack("=QQ", ctypes.addressof(buffer), 9)
    remote = struct.pack("=QQ", world["address"], 9)
    call("process_vm_readv", world["pytest"], local, 1, remote, 1, 0)
    if buffer.raw != b"my secret":
        raise OSError(5, "something else was read")


def take_handle_of_victim(world):
    watch = os.pidfd_open(world["victim"]) if "SANDBOXED" not in globals() else 0
    os.close(call("pidfd_getfd", watch, 0, 0))


def schedule_victim(world):
    os.sched_setaffinity(world["victim"], os.sched_getaffinity(0))


def slow_victim(world):
    os.setpriority(os.PRIO_PROCESS, world["victim"], 19)


def limit_victim(world):
    resource.prlimit(world["victim"], resource.RLIMIT_CORE, (0, 0))


def compare_kernel_objects(world):
    call("kcmp", os.getpid(), os.getppid(), 1, 0, 0)


# --- the kernel


def io_uring(world):
    call("io_uring_setup", 4, ctypes.create_string_buffer(120))


def bpf(world):
    attributes = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1) + bytes(112), 128)
    call("bpf", 0, attributes, 128)


def perf(world):
    attributes = ctypes.create_string_buffer(struct.pack("=IIQ", 1, 112, 1) + bytes(96), 112)
    call("perf_event_open", attributes, 0, -1, -1, 0)


def userfaultfd(world):
    call("userfaultfd", 1)


def keyring(world):
    call("keyctl", 0, -2, 1)  # the keyring of this process, which goes with it


def add_key(world):
    call("add_key", b"user", b"modelward", b"x", 1, -2)


def mount(world):
    call("mount", b"none", world["empty"].encode(), b"tmpfs", 0, None)
    call("umount2", world["empty"].encode(), 0)


def unshare_user(world):
    call("unshare", 0x10000000)


def unshare_network(world):
    call("unshare", 0x40000000)


def join_namespace(world):
    handle = os.open("/proc/self/ns/net", os.O_RDONLY) if "SANDBOXED" not in globals() else 0
    call("setns", handle, 0)


def personality(world):
    call("personality", 0x0040000)  # ADDR_NO_RANDOMIZE


def change_root(world):
    os.chroot(world["empty"])


def shared_memory(world):
    call("shmctl", call("shmget", 0, 4096, 0o1600), 0, None)  # IPC_PRIVATE, then IPC_RMID


def message_queue(world):
    os.close(call("mq_open", b"modelward-test", os.O_CREAT | os.O_RDWR, 0o600, None))
    call("mq_unlink", b"modelward-test")


def landlock_again(world):
    call("landlock_create_ruleset", None, 0, 1)


# --- loosening the lock


def raise_limit(world):
    forever = 2**64 - 1
    if LIBC.setrlimit(resource.RLIMIT_CPU, struct.pack("=QQ", forever, forever)) < 0:
        raise OSError(ctypes.get_errno(), "setrlimit")


def raise_limit_by_old_call(world):
    call("setrlimit", resource.RLIMIT_CORE, struct.pack("=QQ", 1 << 20, 1 << 20))


def become_dumpable(world):
    if LIBC.prctl(4, ctypes.c_ulong(1), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def outlive_parent(world):
    if LIBC.prctl(1, ctypes.c_ulong(0), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def change_user(world):
    os.setresuid(os.getuid(), os.getuid(), os.getuid())


ATTEMPTS = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", None) == __name__ and name != "call"
}


def attempt(name, world):
    try:
        ATTEMPTS[name](world)
    except OSError as error:
        return {"escaped": False, "errno": error.errno or 0, "why": str(error)}
    return {"escaped": True, "errno": 0, "why": ""}


def open_handles():
    def is_open(handle):
        try:
            os.fstat(handle)
        except OSError:
            return False
        return True

    return [handle for handle in range(4096) if is_open(handle)]


def entry(paths):
    globals()["SANDBOXED"] = True
    return {
        "attempt": attempt,
        "names": lambda: list(ATTEMPTS),
        "environment": lambda: dict(os.environ),
        "open_handles": open_handles,
        "directory": os.getcwd,
        "size": lambda path: Path(path).stat().st_size,
        "search": lambda: list(sys.path),
        "limits": lambda: {
            name: list(resource.getrlimit(getattr(resource, name)))
            for name in ("RLIMIT_FSIZE", "RLIMIT_CORE")
        },
    }


def main():
    """Answer `[name, world]` lines: run each attempt in a forked, unlocked child."""
    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            answer = json.dumps(attempt(*json.loads(line)))
            os.write(writer, answer.encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if not answer:
            answer = json.dumps({"escaped": status == EXEC_STATUS, "errno": 0, "why": f"status {status}"})
        print(answer, flush=True)


if __name__ == "__main__":
    main()
