"""The sandbox as its users see it: start, call, close."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, final

from modelward import errors
from modelward.sandbox import kernel, wire
from modelward.sandbox.limits import Limits
from modelward.sandbox.wire import Message

if TYPE_CHECKING:
    from modelward.sandbox.warm import Child, Warm
    from modelward.sandbox.zygote import Fork

_PIPE_BYTES: Final = 1 << 20  # the most an unprivileged user may ask for by default
_GRACE: Final = 1.0  # seconds for a process that closed its pipe to finish dying by its own cause
_UNKNOWN: Final = 0


@final
class RemoteFailure(errors.SandboxFault):
    """The code in the sandbox raised; nothing but these two texts crossed the border.

    Attributes:
        name: class name of the exception, control characters removed, at most 80 characters.
        message: its text, the same, at most 2000.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"the model raised {name}: {message}" if message else f"the model raised {name}")
        self.name: Final = name
        self.message: Final = message


@final
class Sandbox:
    """A locked process that holds one model.

        with Sandbox.start("modelward.adapters.pickled:serve", readable=[path], preload=["sklearn"]) as box:
            scores = box.call("predict", RawArray("<f8", (2, 3), bytes(48)))

    After a timeout, a crash or a malformed answer the process is dead and every further call says so; start
    another (milliseconds, from the warm process). A failure that the model raised leaves it alive. A sandbox
    serves one thread at a time; several sandboxes may be used at once.
    """

    def __init__(self, child: "Child", pipes: tuple[int, int], limits: Limits) -> None:
        self._child = child
        self._requests, self._replies = pipes
        self._limits = limits
        self._ended: str | None = None

    @classmethod
    def start(
        cls,
        entry: str,
        *,
        readable: Sequence[Path],
        preload: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> "Sandbox":
        """Fork a process, lock it, and let it load its model.

        Args:
            entry: "package.module:function", trusted code. It is given the readable paths and returns the
                methods that may be called: a mapping from name to callable. Imported before the lock.
            readable: files and directories the process may read; nothing else of the user is.
            preload: modules to import before the lock; what is imported later costs every process anew.
            limits: bounds on time, memory and answers; `Limits()` when not given.

        Raises:
            errors.SandboxUnavailable: the kernel cannot protect; nothing was run.
            errors.FileMissing: a readable path does not exist.
            errors.Unsupported: a module to import is absent.
            errors.SandboxFault: the model raised while loading (RemoteFailure), hung or crashed.
        """
        kernel.protection()
        from modelward.sandbox import warm, zygote  # after the refusal: these need a system that forks

        module, colon, name = entry.partition(":")
        if not (module and colon and name):
            raise errors.ConfigInvalid(f"{entry!r} is not of the form package.module:function")
        paths = tuple(str(path.absolute()) for path in readable)
        for path in paths:
            if not os.access(path, os.R_OK):
                raise errors.FileMissing(f"{path} does not exist or cannot be read")
        limits = limits or Limits()
        source = warm.warm(warm.recipe((*preload, module)))
        box = _spawn(source, zygote.Fork(entry, paths, limits))
        try:
            box.await_loading()
        except BaseException:
            box.close()
            raise
        return box

    def await_loading(self) -> None:
        """Hear that the lock is in force, then that the model is loaded; `start` does this once.

        Raises:
            errors.SandboxUnavailable: the process could not be locked.
            errors.SandboxFault: loading failed.
        """
        try:
            self._answer("locking")  # sent before anything untrusted is touched
        except RemoteFailure as failure:
            raise errors.SandboxUnavailable(
                f"the process could not be locked: {failure.message}"
            ) from failure
        self._answer("loading")

    def call(self, method: str, *arguments: Message) -> Message:
        """Run one of the entry's methods and return its answer.

        Raises:
            RemoteFailure: the method raised; the sandbox lives on.
            errors.SandboxTimeout: it did not answer in time, and was ended.
            errors.SandboxDied: it crashed, was killed, or sent what is no answer.
            ValueError: an argument is no message.
        """
        self._require_alive()
        frame = wire.call_frame(method, arguments)
        return self._answer(method, frame)

    def close(self) -> None:
        """End the process; closing twice is allowed."""
        if self._ended is None:
            self._end("it was closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_alive(self) -> None:
        if self._ended is not None:
            raise errors.SandboxDied(f"this sandbox is over: {self._ended}", advice="Start a new sandbox.")

    def _answer(self, method: str, frame: Sequence[bytes | memoryview] = ()) -> Message:
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            wire.write(self._requests, frame, deadline)
            reply = wire.parse_reply(*wire.read(self._replies, self._limits.reply_bytes, deadline))
        except TimeoutError as error:
            reason = f"{method} did not answer within {self._limits.wall_seconds:g} s"
            self._end(reason)
            raise errors.SandboxTimeout(reason) from error
        except wire.MalformedFrame as error:
            reason = f"the answer to {method} is malformed: {error}"
            self._end(reason)
            raise errors.SandboxDied(reason) from error
        except wire.EndOfStream as error:
            raise self._obituary(method) from error
        except BaseException:  # Ctrl-C between the bytes of a frame: the next answer would be misread
            self._end(f"{method} was interrupted")
            raise
        if isinstance(reply, wire.Failure):
            raise RemoteFailure(reply.name, reply.message)
        return reply

    def _obituary(self, method: str) -> errors.SandboxFault:
        self._child.ended_within(_GRACE)
        code = self._end(f"it died during {method}")
        if code == -signal.SIGXCPU:
            return errors.SandboxTimeout(f"{method} used up {self._limits.cpu_seconds} s of CPU time")
        if code < 0:
            cause = f"was ended by {signal.Signals(-code).name}"
            if code == -signal.SIGSYS:
                cause += ", because it made a system call that no inference makes"
        else:
            cause = f"exited with status {code}"
        return errors.SandboxDied(f"the sandboxed process {cause} during {method}")

    def _end(self, reason: str) -> int:
        self._ended = reason
        os.close(self._requests)
        os.close(self._replies)
        with contextlib.suppress(errors.SandboxFault):  # the warm process is gone, and with it this one
            return self._child.end()
        return _UNKNOWN


def _spawn(source: "Warm", job: "Fork") -> Sandbox:
    """Fork a child with a pipe in each direction; plain pipes, since a socket could carry descriptors."""
    import fcntl

    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    try:
        for handle in (ours_out, ours_in):
            os.set_blocking(handle, False)
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        child = source.fork(job, (theirs_in, theirs_out))
    except BaseException:
        os.close(ours_out)
        os.close(ours_in)
        raise
    finally:
        os.close(theirs_in)
        os.close(theirs_out)
    return Sandbox(child, (ours_out, ours_in), job.limits)
