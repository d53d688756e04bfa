"""modelward's side of the warm process: start it, ask it for children, learn how they ended."""

import atexit
import contextlib
import importlib.util
import json
import os
import select
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from modelward import errors
from modelward.sandbox import zygote
from modelward.sandbox.zygote import Fork, Forked, Hello, Ready, Reap, Reaped, Refused

_IMPORT_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 30.0
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); handle = int(sys.argv[2]); del sys.argv[1:]; "
    "from modelward.sandbox.zygote import main; main(handle)"
)
_INHERITED: Final = ("LD_LIBRARY_PATH", "TZ")  # where Python's own libraries are, and the clock
_ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "PATH": "",
    # one thread each, started by none: a fork copies only the calling thread
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # its pools need named semaphores, which are files that cannot be written
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's allocator starts one at import
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.31 starts one at import, to report its use over the network
}
_SHARED: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_REPLY: Final[msgspec.msgpack.Decoder[Ready | Forked | Reaped | Refused]] = msgspec.msgpack.Decoder(
    Ready | Forked | Reaped | Refused
)
_ENCODER: Final = msgspec.msgpack.Encoder()


@final
class Recipe(msgspec.Struct, frozen=True):
    """What distinguishes one warm process from another.

    Attributes:
        modules: imported before the lock.
        search: `sys.path` of the process.
        libraries: what its children may read besides their model.
    """

    modules: tuple[str, ...]
    search: tuple[str, ...]
    libraries: tuple[str, ...]


def recipe(modules: Sequence[str]) -> Recipe:
    """Find where the named modules, modelward and the standard library live.

    Whole directories are named only for installed packages and the standard library. Of a directory that is
    on `sys.path` for another reason (the working directory, PYTHONPATH, a checkout) only the needed packages
    are.

    Raises:
        errors.Unsupported: a module cannot be found.
    """
    installed = _installed()
    packages: list[Path] = []
    for name in sorted({module.partition(".")[0] for module in (*modules, "modelward")}):
        packages += [
            place for place in _places(name) if not any(place.is_relative_to(root) for root in installed)
        ]
    parents = {place.parent for place in packages}
    search = [
        str(path)
        for path in map(_resolved, sys.path)
        if path in installed or path in parents or path.is_file()
    ]
    shared = [_resolved(path) for path in (*_SHARED, sysconfig.get_config_var("LIBDIR") or "/lib")]
    libraries = _outermost([*installed, *packages, *shared])
    return Recipe(tuple(modules), tuple(dict.fromkeys(search)), tuple(map(str, libraries)))


def _resolved(path: str) -> Path:
    return Path(path or ".").absolute()


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths that lie in no other of them: one Landlock rule each, in every child."""
    kept: list[Path] = []
    for path in sorted({path.resolve() for path in paths}):
        if not kept or not path.is_relative_to(kept[-1]):
            kept.append(path)
    return kept


def _installed() -> list[Path]:
    paths = sysconfig.get_paths()
    named = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += [str(Path(paths["stdlib"]) / "lib-dynload"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        named.append(site.getusersitepackages())
    return list(dict.fromkeys(map(_resolved, named)))


def _places(name: str) -> list[Path]:
    """The package directories or the module file of a top-level name; none if it is built in."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError as error:  # a module without a spec, such as __main__
        raise errors.Unsupported(f"the sandbox cannot import {name}: {error}") from error
    if spec is None:
        raise errors.Unsupported(
            f"the sandbox cannot import {name}: it is not installed", advice=f"Install the package of {name}."
        )
    if spec.submodule_search_locations is not None:
        return [_resolved(place) for place in spec.submodule_search_locations]
    return [_resolved(spec.origin)] if spec.has_location and spec.origin else []


@final
class Child(msgspec.Struct, frozen=True):
    """One process forked from a warm one.

    Attributes:
        warm: the process that forked it and alone can reap it.
        pid: its id.
        watch: a pidfd: signals reach this process or none.
    """

    warm: "Warm"
    pid: int
    watch: int

    def end(self) -> int:
        """Kill the process if it still runs, and say how it ended: exit code, or minus the signal.

        Raises:
            errors.SandboxDied: the warm process is gone, so nobody knows.
        """
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.watch, signal.SIGKILL)
        os.close(self.watch)
        match self.warm.ask(Reap(self.pid)):
            case Reaped(code=code), _:
                return code
            case other, _:
                raise errors.SandboxDied(f"the warm process answered {other} to a request to reap")

    def ended_within(self, seconds: float) -> bool:
        """Whether the process ends by itself in the time given."""
        poll = select.poll()
        poll.register(self.watch, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


@final
class Warm:
    """A running warm process; safe to share between threads."""

    def __init__(self, recipe: Recipe) -> None:
        if not sys.executable:
            raise errors.SandboxUnavailable("this Python does not know its own executable, to start afresh")
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = _ENVIRONMENT | {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with theirs:
            command = [
                sys.executable,
                "-I",
                "-B",
                "-c",
                _BOOT,
                json.dumps(recipe.search),
                str(theirs.fileno()),
            ]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                self._control.close()
                raise errors.SandboxUnavailable(
                    f"{sys.executable} cannot be started: {error.strerror}"
                ) from error
        try:
            reply, _ = self.ask(Hello(recipe.modules, recipe.libraries), seconds=_IMPORT_SECONDS)
        except BaseException:
            self.close()
            raise
        if not isinstance(reply, Ready):
            self.close()
            reason = reply.reason if isinstance(reply, Refused) else repr(reply)
            raise errors.Unsupported(f"the sandbox could not start: {reason}")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(
        self, packet: Hello | Fork | Reap, *, handles: Iterable[int] = (), seconds: float | None = None
    ) -> tuple[Ready | Forked | Reaped | Refused, list[int]]:
        """Send one packet and wait for its answer, with the descriptors it carries.

        Raises:
            errors.SandboxDied: the warm process is gone.
            errors.SandboxTimeout: it does not answer.
        """
        seconds = seconds or _ANSWER_SECONDS
        with self._lock:
            try:
                self._control.settimeout(seconds)
                socket.send_fds(self._control, [_ENCODER.encode(packet)], list(handles))
                answer, carried, _, _ = socket.recv_fds(self._control, zygote.PACKET_BYTES, 1)
            except TimeoutError as error:
                self._abandon()
                raise errors.SandboxTimeout(
                    f"the warm process did not answer within {seconds:g} s"
                ) from error
            except OSError as error:
                self._abandon()
                raise errors.SandboxDied(f"the warm process is gone ({error.strerror})") from error
            except BaseException:  # Ctrl-C
                self._abandon()
                raise
        if not answer:
            raise errors.SandboxDied("the warm process ended before it answered")
        return _REPLY.decode(answer), carried

    def _abandon(self) -> None:
        """End a process whose late answer would be taken for the answer to the next question."""
        self._process.kill()
        self._process.wait()

    def fork(self, job: Fork, pipes: tuple[int, int]) -> Child:
        """Start one locked child that reads requests from the first pipe end and replies to the second.

        Raises:
            errors.SandboxUnavailable: the warm process cannot fork safely.
            errors.SandboxDied: the warm process is gone.
        """
        reply, carried = self.ask(job, handles=pipes)
        match reply:
            case Forked(pid=pid):
                return Child(self, pid, carried[0])
            case Refused(reason=reason):
                raise errors.SandboxUnavailable(reason)
            case other:
                raise errors.SandboxDied(f"the warm process answered {other} to a request to fork")

    def close(self) -> None:
        """End the process and, with it, its children."""
        self._control.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_running: Final[dict[Recipe, Warm]] = {}
_starting: Final = threading.Lock()


def warm(wanted: Recipe) -> Warm:
    """The warm process of a recipe, started if there is none.

    Raises:
        errors.Unsupported: a module cannot be imported.
        errors.SandboxFault: the process died or did not answer.
    """
    with _starting:
        found = _running.get(wanted)
        if found is not None and not found.alive:
            _running.pop(wanted).close()
            found = None
        if found is None:
            found = _running[wanted] = Warm(wanted)
        return found


@atexit.register
def cool() -> None:
    """End every warm process; the next sandbox starts a new one."""
    with _starting:
        while _running:
            _running.popitem()[1].close()


# A forked copy of this process must neither use nor end the warm processes of the original.
os.register_at_fork(after_in_child=_running.clear)
