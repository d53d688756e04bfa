"""PKCS#11 URIs, as far as they name one private key.

Source: RFC 7512, section 2.3 (grammar) and 2.4 (comparison).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from modelward.errors import KeyUnusable

PREFIX: Final = "pkcs11:"
_PATH: Final = ("token", "manufacturer", "serial", "model", "object", "id", "type")
_QUERY: Final = ("module-path", "pin-source", "pin-value", "module-name")
_LETTERS: Final = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&/?|-]|%[0-9A-Fa-f]{2})*")
_SOURCE: Final = re.compile(r"(?:file:(?://)?)?(?P<path>/(?!/)[^\0]*)|env:[^\0]+")
_LONGEST: Final = 2048


class TokenKey(msgspec.Struct, frozen=True, kw_only=True):
    """Which private key of which token; null matches any.

    Attributes:
        token: the token's label.
        manufacturer: of the token.
        serial: of the token.
        model: of the token.
        object: the key's label.
        id: the key's identifier, bytes.
        module_path: the shared library that speaks to the token.
        pin_source: where the PIN lies: an absolute path, or `env:` and a variable's name.
    """

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    pin_source: str | None = None


def parse_uri(uri: str) -> TokenKey:
    """Read a URI.

    Raises:
        KeyUnusable: it is none, holds a PIN, names an attribute that is not known, or does not name a key. A
            refusal never repeats a value, since it could be a PIN.
    """
    if not uri.startswith(PREFIX) or len(uri) > _LONGEST:
        raise KeyUnusable(f"this is no URI of the form pkcs11:..., at most {_LONGEST} characters long")
    path, _, query = uri.removeprefix(PREFIX).partition("?")
    named = _attributes(path, ";", _PATH)
    asked = _attributes(query, "&", _QUERY)
    if "pin-value" in asked:
        raise KeyUnusable(
            "a PIN does not belong on a command line, where other users see it",
            advice="Name a file that holds it: pin-source=file:/path/to/pin.",
        )
    if "module-name" in asked:
        raise KeyUnusable("module-name depends on the system; name the library by module-path=/path/to.so")
    if named.pop("type", b"private") != b"private":
        raise KeyUnusable("the URI names an object that is no private key (type=private)")
    if "object" not in named and "id" not in named:
        raise KeyUnusable("the URI names no key: it has neither object= nor id=")
    identifier = named.pop("id", None)
    if identifier == b"":
        raise KeyUnusable("the URI's id= is empty")
    words = {name: _word(name, value) for name, value in named.items()}
    source, module = asked.get("pin-source"), asked.get("module-path")
    return TokenKey(
        **words,
        id=identifier,
        module_path=_module(module) if module is not None else None,
        pin_source=_source(source) if source is not None else None,
    )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name not in known:
            raise KeyUnusable(f"the URI has an attribute that is none of {', '.join(known)}")
        if name in found:
            raise KeyUnusable(f"the URI names {name} twice")
        if not _LETTERS.fullmatch(value):
            raise KeyUnusable(f"the URI's {name} holds a character that must be percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _word(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise KeyUnusable(f"the URI's {name} is not UTF-8") from error


def _module(value: bytes) -> str:
    path = _word("module-path", value)
    if not path.startswith("/") or "\0" in path:
        raise KeyUnusable("the URI's module-path is no absolute path of a library")
    return path


def _source(value: bytes) -> str:
    source = _word("pin-source", value)
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise KeyUnusable("the URI's pin-source is neither file:/path nor env:NAME; no command is run")
    return match["path"] or source
