"""Models that behave badly, and a few that behave well."""

import ctypes
import os
import struct
import sys
import threading
import time

from modelward.sandbox import RawArray


def reply_handle():
    """The descriptor of replies: the only pipe open for writing."""
    import fcntl

    for handle in range(3, 64):
        try:
            if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                return handle
        except OSError:
            continue
    raise AssertionError


def spin():
    while True:
        pass


def send(data):
    os.write(reply_handle(), data)
    time.sleep(60)


def drip():
    handle = reply_handle()
    os.write(handle, struct.pack("<IQ", 1 << 10, 0))
    while True:
        os.write(handle, b"\x00")
        time.sleep(0.05)


def exhaust_memory():
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))


def close_and_spin():
    os.close(reply_handle())
    spin()


def ignore_cpu_limit():
    import signal

    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    spin()


def raise_hostile():
    class Evil(Exception):
        pass

    Evil.__name__ = "\x1b]0;owned\x07" + "E" * 500
    raise Evil("\x1b[2J" + "x" * 5000)


def raise_unprintable():
    class Evil(Exception):
        def __str__(self):
            raise KeyError

    raise Evil


def many_threads(count):
    threads = [threading.Thread(target=time.sleep, args=(0.05,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(threads)


def deep():
    value = []
    for _ in range(100):
        value = [value]
    return value


def entry(paths):
    return {
        "echo": lambda *arguments: list(arguments),
        "pid": os.getpid,
        "parent": os.getppid,
        "paths": lambda: [str(path) for path in paths],
        "spin": spin,
        "sleep": time.sleep,
        "send": send,
        "drip": drip,
        "segfault": lambda: ctypes.string_at(0),
        "abort": os.abort,
        "exit": os._exit,
        "system_exit": sys.exit,
        "exhaust_memory": exhaust_memory,
        "close_and_spin": close_and_spin,
        "ignore_cpu_limit": ignore_cpu_limit,
        "raise_hostile": raise_hostile,
        "raise_unprintable": raise_unprintable,
        "recurse": recurse,
        "many_threads": many_threads,
        "large": lambda size: RawArray("|u1", (size,), bytes(size)),
        "long_text": lambda size: "x" * size,
        "object": object,
        "deep": deep,
        "print": lambda: print("\x1b[2Jowned", flush=True),
        "import": lambda name: __import__(name).__name__,
    }


def recurse():
    return recurse()


def raises_while_loading(paths):
    raise RuntimeError("no model here")


def hangs_while_loading(paths):
    time.sleep(60)


def crashes_while_loading(paths):
    ctypes.string_at(0)


def reads_model(paths):
    content = paths[0].read_bytes()
    return {"content": lambda: content}
