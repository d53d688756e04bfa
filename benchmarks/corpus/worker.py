"""Runs one scanner's command on many paths: a child of its own for each, modules imported once for all.

python worker.py MODULE:FUNCTION LIMIT ARGUMENTS... < paths

`{}` among the arguments is the path. Prints one JSON line per path: exit code, seconds, CPU seconds and peak
memory of the child, and what it printed. A child over the limit is killed: exit code null.
"""

import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time


def child(main, out, names):
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(out, 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    code = 70
    try:
        returned = main()
        code = returned if isinstance(returned, int) else 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:  # noqa: BLE001 - a scanner that raises has crashed, whatever it raised
        code = 71
    finally:
        try:
            sys.stdout.flush()
            os.write(names, "\n".join(list(sys.modules)).encode())
        finally:
            os._exit(code if 0 <= code < 256 else 72)


def warm(names):
    """Import here what a child imported, so that no later child pays for it again."""
    names.seek(0)
    for name in names.read().decode().split():
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001, S112 - what cannot be imported alone stays the children's
                continue


def waited(pid, limit):
    """Status and resources of the child; the status is None when it was killed for the time."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            return status, used
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    _, _, used = os.wait4(pid, 0)
    return None, used


def main():
    where, limit, *arguments = sys.argv[1:]
    module, name = where.split(":")
    entry = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        path = line.rstrip("\n")
        sys.argv = [module.split(".")[0], *(path if word == "{}" else word for word in arguments)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as names:
            began = time.monotonic()
            pid = os.fork()
            if not pid:
                child(entry, out.fileno(), names.fileno())
            status, used = waited(pid, float(limit))
            out.seek(0)
            text = out.read(4 << 20).decode("utf-8", "replace")
            warm(names)
        code = os.waitstatus_to_exitcode(status) if status is not None else None
        record = {
            "path": path,
            "code": code,
            "seconds": time.monotonic() - began,
            "cpu": used.ru_utime + used.ru_stime,
            "mib": used.ru_maxrss / 1024,
            "out": text,
        }
        os.write(1, json.dumps(record).encode() + b"\n")


if __name__ == "__main__":
    main()
