"""What a text is, by its name and content."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelward.artifact.format import Sniffed


def refine(found: Sniffed, name: str, head: bytes) -> Sniffed:
    """The more particular kind of a text, or what it was found to be.

    Args:
        found: what the content alone says; one of `format.TEXTUAL`.
        name: path or member name.
        head: first 64 KiB.
    """
    del name, head
    return found
