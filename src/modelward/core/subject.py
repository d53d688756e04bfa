"""What is examined."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON

Kind: TypeAlias = Literal["artifact", "model", "dataset", "service"]


def named(path: object) -> str:
    """A path as text that the ledger can hold: bytes that are not UTF-8 (lone surrogates) become escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of an artifact, model, data set or service.

    Attributes:
        kind: which of the four it is.
        name: what the user calls it (a path as given, or a stated name); not part of the identity.
        digest: ``sha256:`` and 64 hexadecimal digits, over content where content can be read.
        identity: ``digest`` when the digest covers the content; ``asserted`` when it only names a live
            callable or a URL, whose behaviour can change without the digest changing.
        format: content format as recognised (``onnx``, ``npz``, ``callable``, ...).
        details: what was found on opening (shape, classes, columns, ...), for reports.
    """

    kind: Kind
    name: str
    digest: str
    identity: Literal["digest", "asserted"] = "digest"
    format: str = ""
    details: dict[str, JSON] = {}
