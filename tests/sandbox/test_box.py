import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelward import errors
from modelward.sandbox import Limits, RawArray, RemoteFailure, Sandbox, warm

INSIDE = Path(__file__).parent / "inside"
SOURCE = Path(warm.__file__).parents[2]
ENTRY = "behaviours:entry"


def start(entry=ENTRY, *, readable=(), preload=(), **limits):
    return Sandbox.start(entry, readable=readable, preload=preload, limits=Limits(**limits))


def alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def gone(*pids, seconds=5.0):
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(alive, pids))


# --- answers


@pytest.mark.parametrize(
    "message",
    [None, True, -1, 2**64 - 1, 1.5, "text", b"bytes", [], {}, [1, ["a", {"k": None}]], {"": [b""]}],
    ids=repr,
)
def test_values_come_back_as_they_went(message):
    with start() as box:
        assert box.call("echo", message) == [message]


def test_arrays_come_back_as_they_went():
    arrays = [
        RawArray("<f4", (2, 3), os.urandom(24)),
        RawArray("|u1", (0,), b""),
        RawArray("<U2", (1,), bytes(8)),
    ]
    with start() as box:
        for sent, got in zip(arrays, box.call("echo", *arrays), strict=True):
            assert (got.dtype, got.shape, bytes(got.data)) == (sent.dtype, sent.shape, sent.data)


def test_large_arrays_cross_pipes_in_pieces():
    data = os.urandom(1 << 20) * 12
    with start() as box:
        (got,) = box.call("echo", RawArray("|u1", (len(data),), data))
        assert bytes(got.data) == data


def test_many_calls_on_one_process():
    with start() as box:
        assert [box.call("echo", number) for number in range(200)] == [[number] for number in range(200)]


def test_paths_are_handed_to_the_entry(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    with start("behaviours:reads_model", readable=[Path("model.bin")]) as box:
        assert box.call("content") == b"weights"


def test_a_symbolic_link_opens_only_what_it_points_to(tmp_path):
    (tmp_path / "real").write_bytes(b"weights")
    (tmp_path / "link").symlink_to("real")
    with start("behaviours:reads_model", readable=[tmp_path / "link"]) as box:
        assert box.call("content") == b"weights"


def test_an_import_after_the_lock_works():
    with start() as box:
        assert box.call("import", "wsgiref.headers") == "wsgiref"


def test_threads_work_under_the_lock():
    with start() as box:
        assert box.call("many_threads", 16) == 16


def test_output_of_a_model_does_not_reach_the_terminal(capfd):
    with start() as box:
        box.call("print")
    assert capfd.readouterr() == ("", "")


# --- failures that leave the sandbox alive


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        ("system_exit", (3,), "SystemExit"),
        ("recurse", (), "RecursionError"),
        ("exhaust_memory", (), "MemoryError"),
        ("object", (), "MalformedFrame"),
        ("deep", (), "MalformedFrame"),
        ("long_text", (2 << 20,), "MalformedFrame"),
        ("absent", (), "KeyError"),
        ("import", ("no_such_module",), "ModuleNotFoundError"),
    ],
)
def test_what_the_model_raises_is_data(method, arguments, name):
    with start(memory_bytes=512 << 20) as box:
        with pytest.raises(RemoteFailure) as caught:
            box.call(method, *arguments)
        assert caught.value.name == name
        assert box.call("echo", 1) == [1]


def test_hostile_text_is_cut_and_cannot_drive_a_terminal():
    with start() as box, pytest.raises(RemoteFailure) as caught:
        box.call("raise_hostile")
    assert str(caught.value).isprintable()
    assert len(caught.value.name) == 80
    assert len(caught.value.message) == 2000


def test_an_argument_that_is_no_message_is_refused_before_it_is_sent():
    with start() as box:
        with pytest.raises(ValueError, match="type set"):
            box.call("echo", {1})
        assert box.call("echo", 1) == [1]


# --- the end of a sandbox


@pytest.mark.parametrize(
    ("method", "arguments", "why"),
    [
        ("segfault", (), "SIGSEGV"),
        ("abort", (), "SIGABRT"),
        ("exit", (7,), "status 7"),
        ("raise_unprintable", (), "status 1"),
        ("ignore_cpu_limit", (), "SIGKILL"),
    ],
)
def test_a_crash_names_its_cause(method, arguments, why):
    box = start(cpu_seconds=1)
    pid = box.call("pid")
    with pytest.raises(errors.SandboxDied, match=why):
        box.call(method, *arguments)
    assert gone(pid)
    with pytest.raises(errors.SandboxDied, match="this sandbox is over"):
        box.call("echo", 1)
    box.close()


def test_a_process_that_goes_on_without_its_pipe_is_killed():
    with start() as box:
        pid = box.call("pid")
        with pytest.raises(errors.SandboxDied, match="SIGKILL"):
            box.call("close_and_spin")
        assert gone(pid)


@pytest.mark.parametrize(("method", "arguments"), [("spin", ()), ("sleep", (60,)), ("drip", ())])
def test_a_hang_is_ended(method, arguments):
    box = start(wall_seconds=1.0)
    pid = box.call("pid")
    begun = time.monotonic()
    with pytest.raises(errors.SandboxTimeout, match="within 1 s"):
        box.call(method, *arguments)
    assert time.monotonic() - begun < 5
    assert gone(pid)
    with pytest.raises(errors.SandboxDied, match="over"):
        box.call("echo")


def test_cpu_time_is_bounded():
    with start(cpu_seconds=1) as box, pytest.raises(errors.SandboxTimeout, match="1 s of CPU"):
        box.call("spin")


def test_a_request_that_nobody_reads_times_out():
    with start(wall_seconds=1.0) as box:
        os.kill(box.call("pid"), signal.SIGSTOP)
        with pytest.raises(errors.SandboxTimeout):
            box.call("echo", RawArray("|u1", (8 << 20,), bytes(8 << 20)))


def test_a_reply_over_the_limit_is_refused_unread():
    with start(reply_bytes=1 << 20) as box:
        assert len(box.call("large", 1 << 20).data) == 1 << 20
        with pytest.raises(errors.SandboxDied, match="over the limit"):
            box.call("large", (1 << 20) + 1)


FRAMES = {
    "huge structure": struct.pack("<IQ", 0xFFFFFFFF, 0),
    "huge arrays": struct.pack("<IQ", 1, 1 << 62),
    "no msgpack": struct.pack("<IQ", 3, 0) + b"\xc1\xc1\xc1",
    "no reply": struct.pack("<IQ", 1, 0) + b"\xc0",
    "unknown tag": struct.pack("<IQ", 3, 0) + b"\x92\x07\xc0",
    "pickle": struct.pack("<IQ", 4, 0) + b"\x80\x04N.",
    "array bytes without an array": struct.pack("<IQ", 3, 1) + b"\x92\x00\xc0" + b"x",
    "items of no bytes": struct.pack("<IQ", 12, 0) + b"\x92\x00\xc7\x07\x01\x92\xa3|S0\x91\x05",
    "an axis of 2**32": struct.pack("<IQ", 17, 0)
    + b"\x92\x00\xc7\x0c\x01\x92\xa3<f8\x92\x00\xce"
    + b"\xff" * 4,
    "no bytes and endless": struct.pack("<IQ", 21, 0)
    + b"\x92\x00\xc7\x10\x01\x92\xa3<f8\x93\x00"
    + b"\xce\x7f\xff\xff\xff" * 2,
    "nested too deep": struct.pack("<IQ", 5002, 0) + b"\x92\x00" + b"\x91" * 4999 + b"\xc0",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_a_malformed_frame_ends_the_sandbox(frame):
    box = start()
    pid = box.call("pid")
    with pytest.raises(errors.SandboxDied, match="malformed"):
        box.call("send", frame)
    assert gone(pid)


def test_loading_failures_are_told_apart():
    with pytest.raises(RemoteFailure, match="RuntimeError: no model here"):
        start("behaviours:raises_while_loading")
    with pytest.raises(errors.SandboxTimeout, match="loading"):
        start("behaviours:hangs_while_loading", wall_seconds=1.0)
    with pytest.raises(errors.SandboxDied, match="SIGSEGV during loading"):
        start("behaviours:crashes_while_loading")


def test_closing_twice_is_allowed_and_ends_the_process():
    box = start()
    pid = box.call("pid")
    box.close()
    box.close()
    assert gone(pid)


def test_an_interrupted_call_ends_the_process():
    box = start()
    pid = box.call("pid")

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            box.call("sleep", 60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(pid)
    with pytest.raises(errors.SandboxDied, match="interrupted"):
        box.call("echo")


def test_sandboxes_do_not_share_state():
    with start() as first, start() as second:
        assert first.call("pid") != second.call("pid")
        with pytest.raises(errors.SandboxDied):
            first.call("abort")
        assert second.call("echo", 1) == [1]


# --- bad input to start


def test_bad_input_to_start(tmp_path):
    with pytest.raises(errors.FileMissing, match="absent"):
        start(readable=[tmp_path / "absent"])
    with pytest.raises(errors.ConfigInvalid, match=r"package\.module:function"):
        start("behaviours")
    with pytest.raises(errors.Unsupported, match="no_such_package"):
        start(preload=["no_such_package"])
    with pytest.raises(
        errors.Unsupported, match=r"json\.no_such_module cannot be imported: ModuleNotFoundError"
    ):
        start(preload=["json.no_such_module"])
    with pytest.raises(RemoteFailure, match="no_such_function"):
        start("behaviours:no_such_function")


@pytest.mark.parametrize("name", ["wall_seconds", "cpu_seconds", "memory_bytes", "reply_bytes"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_must_limit(name, value):
    with pytest.raises(errors.ConfigInvalid, match=name):
        Limits(**{name: value})


# --- no orphans

PROGRAM = """
import sys, time
sys.path[:0] = sys.argv[1:]
from modelward.sandbox import Sandbox
box = Sandbox.start("behaviours:entry", readable=[])
print(box.call("pid"), box.call("parent"), flush=True)
box.call("sleep", 60)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_modelward(ending):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(SOURCE), str(INSIDE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        child, parent = map(int, process.stdout.readline().split())
        assert alive(child)
        assert alive(parent)
        process.send_signal(ending)
    assert gone(child, parent)


def test_children_die_with_the_warm_process_and_the_next_start_replaces_it():
    box = start()
    pid, parent = box.call("pid"), box.call("parent")
    os.kill(parent, signal.SIGKILL)
    assert gone(pid, parent)
    with pytest.raises(errors.SandboxDied):
        box.call("echo", 1)
    with start() as fresh:
        assert fresh.call("parent") != parent
