"""Frames between modelward and a sandboxed process; every byte from the process is treated as hostile.

A frame is a header (length of the structure, length of the arrays: little-endian u32 and u64), the structure
as msgpack, and the bytes of the arrays, one after the other. In the structure an array is an extension: its
dtype and shape. The structure is small (`STRUCTURE_BYTES`), so a few bytes cannot unfold into gigabytes of
objects; the arrays are as large as the receiver allows. Nothing is ever unpickled.
"""

import math
import os
import re
import select
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar, final

import msgspec

STRUCTURE_BYTES: Final = 1 << 20
_DEPTH: Final = 32
_NAME: Final = 80  # characters of an exception's name and message that are passed on
_TEXT: Final = 2000
_ENCODER: Final = msgspec.msgpack.Encoder()
_HEADER: Final = struct.Struct("<IQ")
_ARRAY: Final = 1  # msgpack extension code
_DTYPE: Final = re.compile(r"(?P<order>[<>|])(?P<kind>[biufcSU])(?P<size>[0-9]{1,6})")
_SIZES: Final = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8, 16), "c": (8, 16, 32)}
_AXES: Final = 64  # numpy 2 allows as many
_AXIS: Final = 1 << 31
_BYTES: Final = 1 << 62  # numpy counts without the axes of length 0, in an integer of 63 bits
_BYTES_PER_CHARACTER: Final = 4  # numpy stores U strings as UCS-4


class MalformedFrame(ValueError):
    """Bytes that are no frame, or a frame that breaks a limit; never leaves the sandbox room."""


class EndOfStream(Exception):
    """The other side closed its end, which is how the death of a process is noticed."""


def _item_bytes(dtype: str) -> int:
    match = _DTYPE.fullmatch(dtype)
    if match is None:
        raise MalformedFrame(f"{dtype[:40]!r} is not the dtype of plain numbers or fixed-width strings")
    kind, size = match["kind"], int(match["size"])
    if not size or (kind in _SIZES and size not in _SIZES[kind]):
        raise MalformedFrame(f"there is no dtype {dtype!r}")
    return size * _BYTES_PER_CHARACTER if kind == "U" else size


@final
class RawArray(msgspec.Struct, frozen=True):
    """An array as bytes; only adapters turn it into one of numpy.

        RawArray("<f4", (2, 3), bytes(24))

    Attributes:
        dtype: numpy's `dtype.str`: byte order, kind (one of b, i, u, f, c, S, U) and size; never an object.
        shape: at most 64 axes, each in [0, 2**31), such that what the axes that are not 0 announce is below
            2**62 bytes: numpy refuses more, whether there are elements or not.
        data: the elements in C order, exactly as many bytes as dtype and shape need.

    Raises:
        MalformedFrame: (a ValueError) dtype, shape and data do not fit each other.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview

    def __post_init__(self) -> None:
        """Refuse what does not fit, on both sides of the pipe."""
        needed = array_bytes(self.dtype, self.shape)
        given = len(self.data)
        if isinstance(self.data, memoryview) and self.data.nbytes != given:
            raise MalformedFrame(f"a view of {self.data.ndim} axes is not plain bytes; cast it to 'B'")
        if needed != given:
            raise MalformedFrame(
                f"dtype {self.dtype} and shape {self.shape} need {needed} bytes, and {given} were given"
            )


Message: TypeAlias = (
    "bool | int | float | str | bytes | RawArray | Sequence[Message] | Mapping[str, Message] | None"
)
"""What may cross: plain values, arrays, lists and string-keyed maps of them, nested at most 32 deep."""


@final
class Call(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A request: run one named method."""

    method: str
    arguments: list[msgspec.Raw]


@final
class Answer(msgspec.Struct, frozen=True, array_like=True, tag=0, forbid_unknown_fields=True):
    """A reply: what the method returned."""

    value: msgspec.Raw


@final
class Failure(msgspec.Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """A reply: what the method raised, as data."""

    name: str
    message: str


def array_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of an array.

    Raises:
        MalformedFrame: the dtype is not plain or the shape not a shape.
    """
    if len(shape) > _AXES or not all(0 <= axis < _AXIS for axis in shape):
        raise MalformedFrame(f"{len(shape)} axes {str(shape)[:60]} are not a shape")
    size = _item_bytes(dtype)
    if size * math.prod(filter(None, shape)) >= _BYTES:
        raise MalformedFrame(f"{len(shape)} axes {str(shape)[:60]} of {dtype} are larger than any memory")
    return size * math.prod(shape)


def call_frame(method: str, arguments: Sequence[Message]) -> list[bytes | memoryview]:
    """The buffers of a request, to be written one after the other.

    Raises:
        MalformedFrame: an argument is no message.
    """
    arrays: list[bytes | memoryview] = []
    packed = [msgspec.Raw(_ENCODER.encode(_pack(value, arrays, 0))) for value in arguments]
    return _frame(Call(method, packed), arrays)


def answer_frame(value: Message) -> list[bytes | memoryview]:
    """The buffers of a reply.

    Raises:
        MalformedFrame: the value is no message.
    """
    arrays: list[bytes | memoryview] = []
    packed = msgspec.Raw(_ENCODER.encode(_pack(value, arrays, 0)))
    return _frame(Answer(packed), arrays)


def failure_frame(error: BaseException) -> list[bytes | memoryview]:
    """The buffers of a reply that says what was raised: its class and message, cut to a readable length."""
    return _frame(Failure(type(error).__name__[:_NAME], str(error)[:_TEXT]), [])


def _frame(body: Call | Answer | Failure, arrays: list[bytes | memoryview]) -> list[bytes | memoryview]:
    structure = _ENCODER.encode(body)
    if len(structure) > STRUCTURE_BYTES:
        raise MalformedFrame(
            f"values beside arrays take {len(structure)} bytes, over {STRUCTURE_BYTES}: send them as arrays"
        )
    return [_HEADER.pack(len(structure), sum(map(len, arrays))), structure, *arrays]


def parse_call(structure: bytes, arrays: memoryview) -> tuple[str, list[Message]]:
    """The method and arguments of a request.

    Raises:
        MalformedFrame: it is none.
    """
    body = _decode(_CALL, structure)
    rest = _Arrays(arrays)
    arguments = [_parse(raw, rest) for raw in body.arguments]
    rest.close()
    return body.method, arguments


def parse_reply(structure: bytes, arrays: memoryview) -> "Message | Failure":
    """What a process answered, or what it says was raised.

    Raises:
        MalformedFrame: it is neither.
    """
    body = _decode(_REPLY, structure)
    rest = _Arrays(arrays)
    if isinstance(body, Failure):
        rest.close()
        return Failure(_printable(body.name, _NAME), _printable(body.message, _TEXT))
    value = _parse(body.value, rest)
    rest.close()
    return value


def _printable(text: str, length: int) -> str:
    """Text of a hostile process, without the control characters that would drive a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length])


def _pack(value: object, arrays: list[bytes | memoryview], depth: int) -> object:
    if depth > _DEPTH:
        raise MalformedFrame(f"a message is nested more than {_DEPTH} deep")
    if value is None or type(value) in (bool, float, str, bytes):
        return value
    if type(value) is int:
        if not -(1 << 63) <= value < 1 << 64:
            raise MalformedFrame(f"an integer of {value.bit_length()} bits is no message")
        return value
    if isinstance(value, RawArray):
        arrays.append(value.data)
        return msgspec.msgpack.Ext(_ARRAY, _ENCODER.encode((value.dtype, value.shape)))
    if isinstance(value, list | tuple):
        return [_pack(item, arrays, depth + 1) for item in value]
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: _pack(item, arrays, depth + 1) for key, item in value.items()}
    raise MalformedFrame(f"a value of type {type(value).__name__} is no message")


def _parse(raw: msgspec.Raw, arrays: "_Arrays") -> Message:
    return _checked(_decode(msgspec.msgpack.Decoder(ext_hook=arrays.take), bytes(raw)), 0)


def _checked(value: object, depth: int) -> Message:
    if depth > _DEPTH:
        raise MalformedFrame(f"a message is nested more than {_DEPTH} deep")
    if value is None or isinstance(value, bool | int | float | str | bytes | RawArray):
        return value
    if isinstance(value, list):
        return [_checked(item, depth + 1) for item in value]
    if isinstance(value, dict):
        pairs = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise MalformedFrame(f"a key of type {type(key).__name__} is no message")
            pairs[key] = _checked(item, depth + 1)
        return pairs
    raise MalformedFrame(f"a value of type {type(value).__name__} is no message")


@final
class _Arrays:
    """Hands out the arrays' bytes in the order in which the structure names them."""

    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def take(self, code: int, header: memoryview) -> RawArray:
        if code != _ARRAY:
            raise MalformedFrame(f"there is no msgpack extension {code}")
        dtype, shape = msgspec.msgpack.decode(header, type=tuple[str, tuple[int, ...]])
        size = array_bytes(dtype, shape)
        if size > len(self._rest):
            raise MalformedFrame(f"an array of {size} bytes is announced where {len(self._rest)} are left")
        data, self._rest = self._rest[:size], self._rest[size:]
        return RawArray(dtype, shape, data)

    def close(self) -> None:
        if len(self._rest):
            raise MalformedFrame(f"{len(self._rest)} bytes of the frame belong to no array")


_Body = TypeVar("_Body")


def _decode(decoder: msgspec.msgpack.Decoder[_Body], data: bytes) -> _Body:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, TypeError) as error:
        raise MalformedFrame(f"not a message ({_printable(str(error), _TEXT)})") from error


_REPLY: Final[msgspec.msgpack.Decoder[Answer | Failure]] = msgspec.msgpack.Decoder(Answer | Failure)
_CALL: Final = msgspec.msgpack.Decoder(Call)


def write(handle: int, buffers: Sequence[bytes | memoryview], deadline: float | None) -> None:
    """Write all buffers to a pipe.

    Args:
        handle: descriptor; non-blocking where a deadline is given.
        buffers: written one after the other.
        deadline: `time.monotonic()` value, None for no limit.

    Raises:
        TimeoutError: the deadline passed.
        EndOfStream: the other side closed the pipe.
    """
    for buffer in buffers:
        rest = memoryview(buffer)
        while rest:
            _wait(handle, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(handle, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise EndOfStream from error


def read(handle: int, limit: int, deadline: float | None) -> tuple[bytes, memoryview]:
    """Read one frame from a pipe.

    Args:
        handle: descriptor; non-blocking where a deadline is given.
        limit: largest total of array bytes to accept; nothing larger is allocated.
        deadline: `time.monotonic()` value, None for no limit.

    Returns:
        The structure, and the arrays' bytes (read-only).

    Raises:
        MalformedFrame: the frame announces more than the limits.
        TimeoutError: the deadline passed.
        EndOfStream: the other side closed the pipe.
    """
    structure_bytes, array_total = _HEADER.unpack(_exactly(handle, _HEADER.size, deadline))
    if structure_bytes > STRUCTURE_BYTES or array_total > limit:
        raise MalformedFrame(
            f"{structure_bytes} + {array_total} bytes are over the limit of {STRUCTURE_BYTES} + {limit}"
        )
    structure = bytes(_exactly(handle, structure_bytes, deadline))
    return structure, _exactly(handle, array_total, deadline).toreadonly()


def _exactly(handle: int, size: int, deadline: float | None) -> memoryview:
    buffer = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        _wait(handle, select.POLLIN, deadline)
        try:
            count = os.readv(handle, [buffer[filled:]])
        except BlockingIOError:
            continue
        if count == 0:
            raise EndOfStream
        filled += count
    return buffer


def _wait(handle: int, event: int, deadline: float | None) -> None:
    if deadline is None:
        return
    poll = select.poll()
    poll.register(handle, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError
