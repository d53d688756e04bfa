"""XML, element by element, with no entity expanded and nothing fetched.

Sources: XML 1.0 (fifth edition), section 4 (entities); XInclude 1.0; expat 2.6.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol, final
from xml.parsers import expat

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

DEPTH: Final = 2_000
_CHUNK: Final = 1 << 20
_LONG: Final = 1 << 26
_PIECE: Final = 1 << 14
"""Bytes before the root element that are passed over, and bytes parsed at once to find it."""
_BOMB: Final = 1_000_000
"""Characters that entities may expand to before they count as an attack on memory."""
_REFERENCE: Final = re.compile(r"[&%]([\w.:-]+);")
_DTD: Final = re.compile(r"https?://(?:www\.)?dmg\.org/|pmml[\w.-]*\.dtd$", re.IGNORECASE)
"""Where the document type of PMML before version 3 is published."""


class Handler(Protocol):
    """Takes the elements in order."""

    def start(self, name: str, attributes: dict[str, str], depth: int) -> None:
        """An element opens; `name` has no prefix, and the depth of the root is 1."""
        ...

    def end(self, name: str) -> None:
        """An element closes."""
        ...

    def text(self, text: str) -> None:
        """Characters, in pieces."""
        ...


def root(data: Buffer) -> tuple[str, str] | None:
    """Name of the root element, without its prefix, and of its attributes; None where there is none."""
    found: list[tuple[str, str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        found.append((name.rsplit(":", 1)[-1], " ".join(attributes)))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    try:
        for pos in range(0, min(len(data), _LONG), _PIECE):
            parser.Parse(bytes(data[pos : pos + _PIECE]), False)  # noqa: FBT003 - expat takes no keywords
            if found:
                break
    except (expat.ExpatError, ValueError, LookupError):
        pass  # what stands before the error counts
    return found[0] if found else None


def walk(data: Buffer, into: Reading, handler: Handler) -> None:
    """Parse the whole content.

    Args:
        data: the content, in UTF-8, UTF-16 or what it declares.
        into: told of external and exploding entities, and of inclusions.
        handler: takes the elements.

    Raises:
        Malformed: it is no well-formed XML, or is deeper than `DEPTH`.
    """
    _Parser(data, into, handler).run()


@final
class _Parser:
    __slots__ = ("_data", "_depth", "_handler", "_into", "_sizes")

    def __init__(self, data: Buffer, into: Reading, handler: Handler) -> None:
        self._data = data
        self._into = into
        self._handler = handler
        self._depth = 0
        self._sizes: dict[str, int] = {}

    def run(self) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._handler.text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity
        parser.ProcessingInstructionHandler = self._instruction
        parser.DefaultHandler = _drop
        try:
            for pos in range(0, len(self._data), _CHUNK):
                self._into.spend()
                parser.Parse(bytes(self._data[pos : pos + _CHUNK]), False)  # noqa: FBT003 - has no keywords
            parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keywords
        except expat.ExpatError as error:
            raise Malformed(f"it is no XML: {error}") from error
        except (ValueError, LookupError) as error:
            raise Malformed(f"its encoding cannot be read: {error}") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._into.spend()
        self._depth += 1
        if self._depth > DEPTH:
            raise Malformed(f"elements are nested deeper than {DEPTH} levels")
        local = name.rsplit(":", 1)[-1]
        if local == "include" and "href" in attributes:
            self._into.dangerous(
                "xml.include",
                f"the file {attributes['href'][:200]!r} is included",
                call=attributes["href"][:200],
            )
        self._handler.start(local, attributes, self._depth)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._handler.end(name.rsplit(":", 1)[-1])

    def _doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        del name, internal
        if system is None and public is None:
            return
        place = system or public or ""
        if _DTD.search(place):
            self._into.note("xml.doctype", f"the document type is read from {place[:200]!r}")
        else:
            self._into.dangerous(
                "xml.external-doctype", f"the document type is fetched from {place[:200]!r}", call=place[:200]
            )

    def _entity(self, *declared: str | int | None) -> None:
        """Arguments: name, is a parameter, value, base, system identifier, public identifier, notation."""
        self._into.spend()
        name, value = str(declared[0]), declared[2]
        if not isinstance(value, str):
            place = str(declared[4] or declared[5])[:200]
            self._into.dangerous(
                "xml.external-entity", f"the entity {name[:200]!r} is fetched from {place!r}", call=place
            )
            return
        self._handler.text(value)
        if "<" in value:
            message = f"the entity {name[:200]!r} holds elements, which are not read"
            self._into.unproven("xml.entity-markup", message, call=value[:200])
        size = len(value) + sum(self._sizes.get(each, 0) for each in _REFERENCE.findall(value))
        self._sizes[name] = min(size, 1 << 62)
        if size > _BOMB:
            self._into.dangerous("xml.entity-bomb", f"the entity {name[:200]!r} expands to {size} characters")

    def _instruction(self, target: str, text: str) -> None:
        if target == "xml-stylesheet":
            self._into.note("xml.stylesheet", f"a style sheet is named: {text[:200]}")


def _drop(text: str) -> None:
    """Having a default handler makes expat leave internal entities as they stand."""
    del text
