"""What runs in the warm process: import trusted code, then fork one locked child per sandbox.

The warm process itself never touches a model. It is a fresh interpreter with an empty environment and no
descriptors but its control socket; it ends when modelward's end of that socket closes, and the kernel then
ends its children (PR_SET_PDEATHSIG). It must stay single-threaded: a fork copies only the calling thread.
"""

import gc
import importlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, final

import msgspec

from modelward import errors
from modelward.sandbox import kernel, libc, lock, wire
from modelward.sandbox.limits import Limits

PACKET_BYTES: Final = 1 << 16

Methods = Mapping[str, Callable[..., wire.Message]]
"""What an entry point returns: the methods that may be called, by name."""


@final
class Hello(msgspec.Struct, frozen=True, tag=True):
    """First packet to the warm process.

    Attributes:
        modules: imported before any fork, hence before any lock.
        libraries: paths that children may read besides the model.
    """

    modules: tuple[str, ...]
    libraries: tuple[str, ...]


@final
class Fork(msgspec.Struct, frozen=True, tag=True):
    """Ask for one locked child; the packet carries its request and reply pipe ends."""

    entry: str
    readable: tuple[str, ...]
    limits: Limits


@final
class Reap(msgspec.Struct, frozen=True, tag=True):
    """Ask how an ended child ended."""

    pid: int


@final
class Ready(msgspec.Struct, frozen=True, tag=True):
    """The modules are imported."""


@final
class Forked(msgspec.Struct, frozen=True, tag=True):
    """The child's id; the packet carries its pidfd, which cannot name another process later."""

    pid: int


@final
class Reaped(msgspec.Struct, frozen=True, tag=True):
    """The child's exit code, or minus the signal that ended it."""

    code: int


@final
class Refused(msgspec.Struct, frozen=True, tag=True):
    """Why the warm process could not do what was asked."""

    reason: str


_HELLO: Final = msgspec.msgpack.Decoder(Hello)
_REQUEST: Final[msgspec.msgpack.Decoder[Fork | Reap]] = msgspec.msgpack.Decoder(Fork | Reap)
_ENCODER: Final = msgspec.msgpack.Encoder()


def main(handle: int) -> None:
    """Serve the control socket `handle` until modelward closes it."""
    with socket.socket(fileno=handle) as control:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # the terminal's Ctrl-C is for modelward, which then closes us
        libc.prctl(libc.PR_SET_DUMPABLE, 0)
        hello = _HELLO.decode(control.recv(PACKET_BYTES))
        for name in hello.modules:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001 -- importing runs foreign code; whatever it raised is told
                control.send(
                    _ENCODER.encode(
                        Refused(f"{name} cannot be imported: {type(error).__name__}: {error}"[:2000])
                    )
                )
                return
        kernel.protection()  # fills the caches that every child would fill anew
        gc.collect()
        gc.freeze()  # keep the collector of a child from writing to, and so copying, every shared page
        control.send(_ENCODER.encode(Ready()))
        libraries = tuple(map(Path, hello.libraries))
        while True:
            packet, handles, _, _ = socket.recv_fds(control, PACKET_BYTES, 2)
            if not packet:
                return
            match _REQUEST.decode(packet):
                case Reap(pid=pid):
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    control.send(_ENCODER.encode(Reaped(code)))
                case Fork() as job:
                    _fork(control, job, libraries, (handles[0], handles[1]))


def _fork(control: socket.socket, job: Fork, libraries: tuple[Path, ...], pipes: tuple[int, int]) -> None:
    reason = None
    if (count := lock.tasks()) != 1:
        reason = f"the preloaded modules started {count - 1} threads, and a fork would break them"
    else:
        own = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            reason = f"no process could be started: {error}"
        else:
            if pid == 0:
                status = 1
                try:
                    control.close()
                    _child(job, libraries, pipes, own)
                    status = 0
                finally:
                    os._exit(status)
    for pipe in pipes:
        os.close(pipe)
    if reason is not None:
        control.send(_ENCODER.encode(Refused(reason)))
        return
    watch = os.pidfd_open(pid)
    try:
        socket.send_fds(control, [_ENCODER.encode(Forked(pid))], [watch])
    finally:
        os.close(watch)


def _child(job: Fork, libraries: tuple[Path, ...], pipes: tuple[int, int], parent: int) -> None:
    requests, replies = pipes
    readable = tuple(map(Path, job.readable))
    try:
        lock.lock(readable, libraries, job.limits, keep=pipes)
    except (errors.SandboxUnavailable, OSError) as error:
        wire.write(replies, wire.failure_frame(error), None)
        return
    if os.getppid() != parent:  # it died before PR_SET_PDEATHSIG could be heard
        return
    wire.write(replies, wire.answer_frame(None), None)
    try:
        serve(job.entry, readable, requests, replies)
    except wire.EndOfStream:
        return


def serve(entry: str, readable: tuple[Path, ...], requests: int, replies: int) -> None:
    """Load the model by "package.module:function" and answer calls until the request pipe closes.

    Raises:
        wire.EndOfStream: modelward closed a pipe.
    """
    try:
        module, _, name = entry.partition(":")
        load: Callable[[tuple[Path, ...]], Methods] = getattr(importlib.import_module(module), name)
        methods = load(readable)
    except BaseException as error:  # noqa: BLE001 -- a model may raise anything while loading; it is told as data
        wire.write(replies, wire.failure_frame(error), None)
        return
    wire.write(replies, wire.answer_frame(None), None)
    while True:
        name, arguments = wire.parse_call(*wire.read(requests, _ANY_SIZE, None))
        try:
            frame = wire.answer_frame(methods[name](*arguments))
        except BaseException as error:  # noqa: BLE001 -- a model may raise anything; it is told as data
            frame = wire.failure_frame(error)
        wire.write(replies, frame, None)


_ANY_SIZE: Final = 1 << 62  # requests come from modelward; RLIMIT_AS bounds them
