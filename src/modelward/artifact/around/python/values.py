"""What is known of a value without running anything: a name, a constant, where it comes from."""

from __future__ import annotations

import binascii
import re
import zlib
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Constant: TypeAlias = str | bytes | int | float | complex | bool | None

LONGEST: Final = 1 << 18
"""Longest constant text that is computed, in characters."""

DOWNLOAD: Final = "download"
DECODED: Final = "decoded"
SECRET: Final = "secret"  # noqa: S105  a mark of origin, no password
NAMESPACE: Final = "namespace"


class Value(msgspec.Struct, frozen=True):
    """A value as far as the text alone tells.

    Attributes:
        path: dotted name of what it is (`torch.load`; `tarfile.open()` for what a call returns), or "".
        const: the constant, if `known`.
        known: whether it is a constant.
        text: a text that is only partly known, `?` for what is not.
        items: the elements of a list, tuple or set display, else None.
        tags: where it comes from: a download, decoded text, a secret; `namespace` for a module's dictionary.
    """

    path: str = ""
    const: Constant = None
    known: bool = False
    text: str = ""
    items: tuple[Value, ...] | None = None
    tags: frozenset[str] = frozenset()

    @property
    def string(self) -> str | None:
        """The constant when it is a text or ASCII bytes."""
        if not self.known:
            return None
        if isinstance(self.const, bytes):
            return self.const.decode("utf-8", "backslashreplace")
        return self.const if isinstance(self.const, str) else None

    @property
    def start(self) -> str:
        """How it begins, as text; "" when nothing is known."""
        return self.string or self.text


UNKNOWN: Final = Value()


def constant(value: Constant, tags: Iterable[str] = ()) -> Value:
    """A known value, unless it is too long to keep."""
    if isinstance(value, str | bytes) and len(value) > LONGEST:
        return Value(tags=frozenset(tags))
    return Value(const=value, known=True, tags=frozenset(tags))


def tags_of(values: Iterable[Value]) -> frozenset[str]:
    """Every origin of some values, their elements included."""
    found: set[str] = set()
    for value in values:
        found |= value.tags
        for item in value.items or ():
            found |= item.tags
    return frozenset(found - {NAMESPACE})


def add(left: Value, right: Value) -> Value:
    """`left + right`."""
    tags = tags_of((left, right))
    if left.items is not None and right.items is not None and len(left.items) + len(right.items) <= 10_000:
        return Value(items=left.items + right.items, tags=tags)
    if left.known and right.known:
        a, b = left.const, right.const
        if isinstance(a, str) and isinstance(b, str):
            return constant(a + b, tags)
        if isinstance(a, bytes) and isinstance(b, bytes):
            return constant(a + b, tags)
        if isinstance(a, int) and isinstance(b, int):
            return constant(a + b, tags)
    return Value(text=pattern((left, right)), tags=tags)


def pattern(parts: Iterable[Value], separator: str = "") -> str:
    """A text put together of parts, `?` for those that are unknown; "" when nothing is known."""
    shown = [part.start or "?" for part in parts]
    return separator.join(shown)[:4096] if any(part != "?" for part in shown) else ""


def numbers(left: Value, right: Value, operation: str) -> Value:
    """Arithmetic that obfuscated text is made with: `-`, `^` and `*`."""
    tags = tags_of((left, right))
    a, b = left.const, right.const
    if isinstance(a, int) and isinstance(b, int) and abs(a) < 1 << 32 and abs(b) < 1 << 32:
        return constant({"Sub": a - b, "BitXor": a ^ b, "Mult": a * b}[operation], tags)
    if operation == "Mult" and isinstance(a, str) and isinstance(b, int) and 0 <= b * len(a) <= LONGEST:
        return constant(a * b, tags)
    return Value(tags=tags)


def index(base: Value, key: Value) -> Value:
    """`base[key]` of a constant or a display."""
    position = key.const if key.known and isinstance(key.const, int) else None
    if position is not None and base.items is not None and -len(base.items) <= position < len(base.items):
        return base.items[position]
    if (
        position is not None
        and isinstance(base.const, str)
        and -len(base.const) <= position < len(base.const)
    ):
        return constant(base.const[position], base.tags)
    return Value(tags=base.tags - {NAMESPACE})


def backwards(base: Value) -> Value:
    """`base[::-1]`: text turned round counts as decoded."""
    if isinstance(base.const, str | bytes):
        return constant(base.const[::-1], base.tags | {DECODED})
    return Value(tags=base.tags)


_METHODS: Final[dict[str, Callable[[str], Constant]]] = {
    "lower": str.lower,
    "upper": str.upper,
    "strip": str.strip,
    "rstrip": str.rstrip,
    "lstrip": str.lstrip,
    "swapcase": str.swapcase,
}


def method(base: Value, name: str, args: list[Value]) -> Value | None:
    """What a method of a constant text returns; None when this method is not computed."""
    const = base.const
    if isinstance(const, str):
        texts = [arg.const for arg in args if isinstance(arg.const, str)]
        if name in _METHODS and not args:
            return constant(_METHODS[name](const), base.tags)
        if name == "encode":
            return constant(const.encode("utf-8", "backslashreplace"), base.tags)
        if name == "join" and len(args) == 1:
            return _join(const, args[0])
        if name == "replace" and len(texts) == 2 and len(const) <= 4096 and len(texts[1]) <= 64:
            return constant(const.replace(texts[0], texts[1]), base.tags | {DECODED})
        if name == "format":
            return Value(text=re.sub(r"\{[^{}]*\}", "?", const[:4096]), tags=tags_of((base, *args)))
        if name == "split":
            parts = const.split(texts[0] or None) if texts else const.split()
            return Value(items=tuple(constant(part) for part in parts[:1000]), tags=base.tags)
    if isinstance(const, bytes) and name == "decode":
        return constant(const.decode("utf-8", "backslashreplace"), base.tags)
    return None


def _join(separator: str, arg: Value) -> Value:
    tags = tags_of((arg,))
    parts = [item.const for item in arg.items or ()]
    if arg.items is not None and all(isinstance(part, str) for part in parts):
        return constant(separator.join(str(part) for part in parts), tags)
    return Value(text=pattern(arg.items or (), separator), tags=tags)


def _raw(value: Value) -> bytes | None:
    if isinstance(value.const, bytes):
        return value.const
    return value.const.encode("ascii", "replace") if isinstance(value.const, str) else None


def decode(path: str, args: list[Value]) -> Value | None:
    """What a decoding function of the standard library returns; None when it is none.

    Only base64, hexadecimal digits, rot13 and zlib are computed, and no further than `LONGEST`; the result is
    marked as decoded whether it could be computed or not.
    """
    if path not in DECODERS:
        return None
    tags = tags_of(args) | {DECODED}
    raw = _raw(args[0]) if args else None
    if raw is None or len(raw) > LONGEST:
        return Value(tags=tags)
    try:
        if "b64decode" in path or path == "binascii.a2b_base64" or path.endswith("decodebytes"):
            return constant(binascii.a2b_base64(raw.replace(b"-", b"+").replace(b"_", b"/")), tags)
        if "hex" in path or path == "base64.b16decode":
            return constant(binascii.unhexlify(raw.replace(b" ", b"")), tags)
        if path == "zlib.decompress":
            return constant(zlib.decompressobj().decompress(raw, LONGEST), tags)
        if path == "codecs.decode" and len(args) > 1 and args[1].string in {"rot13", "rot_13"}:
            return constant(_rot13(raw.decode("latin-1")), tags)
    except (ValueError, zlib.error):
        pass
    return Value(tags=tags)


def _rot13(text: str) -> str:
    def turn(letter: str) -> str:
        base = ord("a") if letter.islower() else ord("A")
        return chr((ord(letter) - base + 13) % 26 + base) if letter.isascii() and letter.isalpha() else letter

    return "".join(map(turn, text))


DECODERS: Final = frozenset(
    {
        "base64.b64decode", "base64.urlsafe_b64decode", "base64.standard_b64decode", "base64.decodebytes",
        "base64.b16decode", "base64.b32decode", "base64.b85decode", "base64.a85decode", "binascii.unhexlify",
        "binascii.a2b_hex", "binascii.a2b_base64", "builtins.bytes.fromhex", "builtins.bytearray.fromhex",
        "zlib.decompress", "gzip.decompress", "bz2.decompress", "lzma.decompress", "codecs.decode",
        "marshal.loads", "builtins.chr",
    }
)  # fmt: skip
"""Functions that turn unreadable constants into text or code."""
