"""The catalogue of techniques and controls, read from `catalogue.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal, TypeAlias

import msgspec

Framework: TypeAlias = Literal["atlas", "csf", "cosai"]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public framework.

    Attributes:
        title: its name.
        version: the edition that the ids are of.
    """

    title: str
    version: str


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A technique, subcategory, risk or control.

    Attributes:
        framework: where it is from.
        name: its short name.
        text: what it means, in one sentence of our own.
    """

    framework: Framework
    name: str
    text: str


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it.

    Attributes:
        frameworks: by key.
        entries: by official id.
    """

    frameworks: dict[Framework, Source]
    entries: dict[str, Entry]


@cache
def catalogue() -> Catalogue:
    """Read the shipped catalogue."""
    text = files("modelward.governance").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Catalogue)


def glossary() -> dict[str, str]:
    """Id to ``Framework: short name``, for reports."""
    known = catalogue()
    return {
        key: f"{known.frameworks[entry.framework].title}: {entry.name}"
        for key, entry in known.entries.items()
    }
