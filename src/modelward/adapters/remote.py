"""Both ends of a model in the sandbox: the worker inside, the runtime and the probe outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

import msgspec
import numpy as np

from modelward.adapters.characters import are_characters
from modelward.adapters.loading import PRELOAD, SANDBOXED, TORCH, load_runtime
from modelward.adapters.runtime import Facts, Grown, Runtime, RuntimeSpec, reason
from modelward.core.model import ProbeAnswer
from modelward.errors import (
    FileDamaged,
    FormatUnknown,
    ModelHung,
    ModelRaised,
    OperatorUnsupported,
    SandboxDied,
    SandboxTimeout,
    ShapeMismatch,
    UnsafeArtifact,
)
from modelward.sandbox import Limits, RawArray, RemoteFailure, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from modelward.core.canonical import JSON
    from modelward.core.trees import Forest
    from modelward.sandbox import Message

ENTRY = "modelward.adapters.remote:serve"
_ROWS = 65536
"""Rows per call: bounds the size of one frame."""


def serve(readable: tuple[Path, ...]) -> Mapping[str, Callable[..., Message]]:
    """The worker's methods; runs inside the sandbox.

    Args:
        readable: the model's own paths (the specification names the file).
    """
    loaded: list[Runtime] = []

    del readable  # the kernel enforces it; the specification names the file

    def open_model(specification: bytes) -> Message:
        loaded.append(load_runtime(msgspec.json.decode(specification, type=RuntimeSpec)))
        return msgspec.json.encode(loaded[0].facts)

    def raw(x: RawArray) -> Message:
        return pack(loaded[0].raw(unpack(x)))

    def raw_texts(joined: RawArray, lengths: RawArray) -> Message:
        from modelward.adapters.texts.wire import unpack_texts

        return pack(loaded[0].raw(unpack_texts(joined, lengths)))

    def forest() -> Message:
        from modelward.adapters.trees.message import packed

        return packed(grown(loaded[0]))

    return {"open": open_model, "raw": raw, "raw_texts": raw_texts, "forest": forest}


def grown(runtime: Runtime) -> Forest:
    """The trees of a runtime that has any.

    Raises:
        OperatorUnsupported: it has none that are read.
    """
    if not isinstance(runtime, Grown):
        raise OperatorUnsupported("its trees, if it has any, are not read")
    return runtime.forest()


def pack(array: NDArray[np.generic]) -> RawArray:
    """An array as a message; objects become text."""
    plain = np.ascontiguousarray(array if array.dtype.kind != "O" else array.astype(np.str_))
    return RawArray(plain.dtype.str, plain.shape, plain.tobytes())


def unpack(array: RawArray) -> NDArray[np.generic]:
    """A message as an array; dtype, shape and length were checked on receipt.

    Raises:
        ModelRaised: its text holds a number that is no character, which no interpreter survives unharmed.
    """
    found = np.frombuffer(array.data, dtype=np.dtype(array.dtype)).reshape(array.shape)
    if not are_characters(found):
        raise ModelRaised("the sandboxed model answered text that is no text")
    return found


@final
class RemoteRuntime:
    """A model that lives in a sandboxed process; started again after it died."""

    def __init__(self, spec: RuntimeSpec, limits: Limits | None = None) -> None:
        self._spec, self._limits = spec, limits or Limits(wall_seconds=60.0)
        self._box, self._facts = _open_box(spec, self._limits)

    @property
    def facts(self) -> Facts:
        """What the model says about itself."""
        return self._facts

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Ask the sandboxed model.

        Raises:
            ModelRaised: it raised, or its process crashed.
            ModelHung: it did not answer in time.
        """
        if x.ndim == 0 or len(x) <= _ROWS:
            return self._raw(x)
        parts = [self._raw(x[start : start + _ROWS]) for start in range(0, len(x), _ROWS)]
        if len({(part.ndim, part.shape[1:]) for part in parts}) > 1 or parts[0].ndim == 0:
            raise ModelRaised("the sandboxed model answered parts of one batch in different shapes")
        return np.concatenate(parts)

    def _raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        try:
            answer = self._call(x)
        except RemoteFailure as error:
            # What the runtime already put into words needs no second frame.
            said = error.name == ModelRaised.__name__
            why = reason(error.message)
            raise ModelRaised(why if said else f"the model raised {error.name}: {why}") from error
        except SandboxTimeout as error:
            self._restart()
            raise ModelHung(str(error)) from error
        except SandboxDied as error:
            self._restart()
            raise ModelRaised(str(error)) from error
        if not isinstance(answer, RawArray):
            raise ModelRaised("the sandboxed model answered something that is no array")
        return unpack(answer)

    def _call(self, x: NDArray[np.generic]) -> Message:
        if x.dtype.kind != "O" or x.ndim != 1 or not all(isinstance(item, str) for item in x):
            return self._box.call("raw", pack(x))
        from modelward.adapters.texts.wire import pack_texts

        return self._box.call("raw_texts", *pack_texts(x))

    def forest(self) -> Forest:
        """The trees, as plain arrays that the sandboxed process sent and this one checked.

        Raises:
            OperatorUnsupported: it has none that are read, or did not say.
        """
        from modelward.adapters.trees.message import unpacked

        try:
            return unpacked(self._box.call("forest"))
        except RemoteFailure as error:
            raise OperatorUnsupported(reason(error.message)) from error
        except (SandboxTimeout, SandboxDied) as error:
            self._restart()
            raise OperatorUnsupported(f"its trees were not read: {error}") from error

    def close(self) -> None:
        """End the process."""
        self._box.close()

    def _restart(self) -> None:
        self._box.close()
        self._box, self._facts = _open_box(self._spec, self._limits)


@final
class RemoteProbe:
    """Sends inputs that may break a model to a sandboxed copy of it."""

    def __init__(self, spec: RuntimeSpec, seconds: float) -> None:
        self._runtime = RemoteRuntime(spec, Limits(wall_seconds=max(seconds, 10.0)))

    def ask(self, x: NDArray[np.generic]) -> ProbeAnswer:
        """Send one batch as it is; a process that died or hung is replaced."""
        try:
            return answered(self._runtime.raw(x))
        except ModelHung as error:
            return ProbeAnswer(kind="hung", detail=str(error))
        except ModelRaised as error:
            crashed = isinstance(error.__cause__, SandboxDied)
            return ProbeAnswer(kind="crashed" if crashed else "raised", detail=str(error))

    def close(self) -> None:
        """End the process."""
        self._runtime.close()


def answered(raw: NDArray[np.generic]) -> ProbeAnswer:
    """Summarise an answer."""
    if raw.dtype.kind not in "fiubc":
        return ProbeAnswer(kind="answered", detail=f"{raw.dtype} {raw.shape}", finite=True)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float64 is an infinity, as good as any
        values = np.abs(raw) if raw.dtype.kind == "c" else raw
        flat = values.astype(np.float64).ravel()
    shown: list[JSON] = [float(v) if np.isfinite(v) else None for v in flat[:64]]
    return ProbeAnswer(
        kind="answered", detail=f"{raw.dtype} {raw.shape}", scores=shown, finite=bool(np.isfinite(flat).all())
    )


_LOAD_ERRORS = {
    error.__name__: error for error in (FileDamaged, FormatUnknown, ShapeMismatch, UnsafeArtifact)
}


def _open_box(spec: RuntimeSpec, limits: Limits) -> tuple[Sandbox, Facts]:
    path = Path(spec.path)
    readable = [path, *map(Path, spec.beside)]
    if spec.import_from is not None and spec.format in TORCH:
        readable.append(Path(spec.import_from))
    # The file's bytes are held beside what is built of them.
    room = limits.memory_bytes + (path.stat().st_size if spec.format in SANDBOXED else 0)
    limits = msgspec.structs.replace(limits, memory_bytes=room)
    # The factory is the user's own code, and may import what only works before the lock.
    preload = (*PRELOAD.get(spec.format, ()), *([spec.factory.partition(":")[0]] if spec.factory else []))
    box = Sandbox.start(ENTRY, readable=readable, preload=preload, limits=limits)
    try:
        answer = box.call("open", msgspec.json.encode(spec))
        if not isinstance(answer, bytes):
            raise FileDamaged(f"{spec.path}: the sandboxed loader gave no description of the model")
        return box, msgspec.json.decode(answer, type=Facts)
    except RemoteFailure as error:
        box.close()
        known = _LOAD_ERRORS.get(error.name)
        if known is not None:
            raise known(error.message) from error
        raise FileDamaged(f"{spec.path}: cannot be loaded ({error.name}: {error.message[:200]})") from error
    except (SandboxTimeout, SandboxDied) as error:
        raise FileDamaged(f"{spec.path}: cannot be loaded ({error})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        box.close()
        raise FileDamaged(f"{spec.path}: the sandboxed loader described no model") from error
