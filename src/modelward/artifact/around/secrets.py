"""Secrets in texts: tokens whose form says what they are, keys, and passwords in places where they are one.

Patterns are those that issuers publish (prefix, alphabet, length). A match of too little variety, or one that
says that it is an example, is passed over. A secret is never repeated: a report shows its first characters.

A text of many megabytes (a vocabulary, a notebook with pictures) is looked at where a secret can be, and
nowhere else: at the few words that lead a password, and at runs of 20 or more characters of the kind that
tokens are made of, which one translation and a search for constant bytes find at the speed of memory.
"""

from __future__ import annotations

import binascii
import math
import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.around import credentials
from modelward.artifact.events import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 16 << 20
"""Bytes of a text that are looked at."""
KEPT: Final = 100
"""Most secrets of one text that are reported."""
RUN: Final = 20
"""Least characters of a token."""
BLOB: Final = 4096
"""Characters of a run from which on it is no token: a picture, a font, an array in base64."""
LINES: Final = 5
"""Runs of one length without a token, one right after the other, after which they are lines of a blob."""
_BEFORE: Final = 96
"""Bytes before a run, in its line, that can say what it is."""
_REMEDY: Final = "Revoke it where it was issued, then remove it here and from the history."
_CLASS: Final = bytes(
    97 if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_-+/=.") else 32
    for byte in range(256)
)
"""Characters of tokens as `a`, others as a space."""


class Pattern(msgspec.Struct, frozen=True):
    """One form of secret.

    Attributes:
        rule: last part of the rule's name.
        what: in words.
        literals: of which one must occur; where `anchored`, in lower case.
        form: the secret is the group that matched.
        severity: how bad a match is.
        entropy: least Shannon entropy of the secret, in bits per character.
        anchored: the form begins with one of the literals; else it holds a run of `RUN` characters of tokens.
    """

    rule: str
    what: str
    literals: tuple[bytes, ...]
    form: re.Pattern[bytes]
    severity: Severity
    entropy: float
    anchored: bool


@cache
def patterns() -> tuple[Pattern, ...]:
    """Every form of secret, from `secrets.toml`; read once."""
    text = Path(__file__).with_name("secrets.toml").read_text(encoding="utf-8")
    return tuple(
        Pattern(
            rule=one["rule"],
            what=one["what"],
            literals=tuple(word.encode() for word in one["literals"]),
            form=re.compile(one["form"].encode()),
            severity=one["severity"],
            entropy=one["entropy"],
            anchored=one.get("anchored", False),
        )
        for one in tomllib.loads(text)["pattern"]
    )


@cache
def _hints() -> re.Pattern[bytes]:
    """The literals of every form that is no anchored one."""
    words = (word for pattern in patterns() if not pattern.anchored for word in pattern.literals)
    return re.compile(b"|".join(re.escape(word) for word in words))


@cache
def _anchors() -> dict[bytes, list[Pattern]]:
    """Literal -> the anchored forms that begin with it."""
    made: dict[bytes, list[Pattern]] = {}
    for pattern in patterns():
        for literal in pattern.literals if pattern.anchored else ():
            made.setdefault(literal, []).append(pattern)
    return made


_EXAMPLE: Final = re.compile(
    rb"(?i)example|sample|dummy|placeholder|changeme|change-me|your|<|\$\{|\{\{|%\(|xxxx|\*\*\*|0123456789|1234567890|"
    rb"abcdefghij|deadbeef|foobar|redacted|insert|replace|not-?a-?real|fake|test[_-]?(?:key|token|secret)"
)
_PASSWORD_VALUE: Final = re.compile(rb"(?=.*\d)(?=.*[A-Za-z])[\x21-\x7e]+")
_CODE: Final = re.compile(
    rb"[()\[\] ]|::|^(?:https?|file|s3|gs)://|^[./~]|^[\w.-]+/[\w./-]+$|^[a-z_]+(?:[._-][a-z_]+)*$"
)


class Secret(msgspec.Struct, frozen=True, order=True):
    """A secret that was found.

    Attributes:
        start: offset.
        value: itself.
        rule: of the finding.
        what: in words.
        severity: how bad it is.
    """

    start: int
    value: bytes
    rule: str
    what: str
    severity: Severity


def read(data: Buffer, into: Reading) -> None:
    """Report every secret with its line; at most `KEPT` of them."""
    content = bytes(data[:LONGEST])
    if len(data) > LONGEST:
        into.note("secrets.unread", f"secrets were looked for in the first {LONGEST} bytes")
    secrets = _found(content, into.name)
    line, counted = 1, 0
    for secret in secrets[:KEPT]:
        line += content.count(b"\n", counted, secret.start)
        counted = secret.start
        into.finding(
            secret.rule,
            secret.severity,
            f"{secret.what} stands in the text: {_shown(secret.value)}",
            line=line,
            remedy=_REMEDY,
        )
    if len(secrets) > KEPT:
        into.note("secrets.more", f"there are more than {KEPT} secrets; {KEPT} of them are listed")


def _found(content: bytes, name: str) -> list[Secret]:
    """In order of offset, at most one more than `KEPT`; of overlapping ones, the more particular counts."""
    kept: dict[int, Secret] = {}
    taken: list[tuple[int, int]] = []

    def keep(secret: Secret) -> bool:
        end = secret.start + len(secret.value)
        if not any(secret.start < late and early < end for early, late in taken):
            taken.append((secret.start, end))
            kept[secret.start] = secret
        return len(kept) <= KEPT

    for source in (_tokens(content), _anchored(content), _stated(content, name)):
        for secret in source:
            if not keep(secret):
                break
    return sorted(kept.values())


def _tokens(content: bytes) -> Iterator[Secret]:
    """Those with a run of characters of tokens."""
    mask = content.translate(_CLASS)
    hints, run = _hints(), b"a" * RUN
    end = length = equal = 0
    while (start := mask.find(run, end)) >= 0:
        same, last = start - end <= 2, length
        end = mask.find(b" ", start)
        end = end if end >= 0 else len(content)
        length = end - start
        equal = equal + 1 if same and length == last else 0
        if length > BLOB or equal > LINES:
            continue
        first = max(0, start - _BEFORE)
        first = max(first, content.rfind(b"\n", first, start) + 1)
        if not hints.search(content, first, end):
            continue
        equal = 0
        window = content[first:end]
        for pattern in patterns():
            if not pattern.anchored and any(literal in window for literal in pattern.literals):
                for match in pattern.form.finditer(content, first, min(end + 1, len(content))):
                    yield from _secret(pattern, match)


def _anchored(content: bytes) -> Iterator[Secret]:
    """Those that begin with a word."""
    lowered = content.lower()
    for literal, forms in _anchors().items():
        at = lowered.find(literal)
        while at >= 0:
            after = at + len(literal)
            for pattern in forms:
                if match := pattern.form.match(content, at):
                    after = match.end()
                    yield from _secret(pattern, match)
            at = lowered.find(literal, after)


def _stated(content: bytes, name: str) -> Iterator[Secret]:
    """Those in files that exist to hold them."""
    for place, start, value in credentials.found(name, content):
        if not _EXAMPLE.search(value):
            yield Secret(start, value, place.rule, place.what, place.severity)


def _secret(pattern: Pattern, match: re.Match[bytes]) -> Iterator[Secret]:
    group = next(index for index in range(1, match.re.groups + 1) if match[index] is not None)
    if _plausible(pattern, match[group]):
        yield Secret(
            match.start(group), match[group], f"secrets.{pattern.rule}", pattern.what, pattern.severity
        )


def _plausible(pattern: Pattern, secret: bytes) -> bool:
    if _EXAMPLE.search(secret) or _entropy(secret) < pattern.entropy:
        return False
    if pattern.rule == "docker-login":
        return _login(secret)
    return pattern.rule != "password" or bool(_PASSWORD_VALUE.fullmatch(secret) and not _CODE.search(secret))


def _login(secret: bytes) -> bool:
    """Whether a text is a name and a password in base64."""
    try:
        name, _, password = binascii.a2b_base64(secret).partition(b":")
    except binascii.Error:
        return False
    return bool(name and len(password) >= 6 and not _EXAMPLE.search(password))


def _entropy(secret: bytes) -> float:
    """Shannon entropy of the characters, in bits per character."""
    return -sum(n / len(secret) * math.log2(n / len(secret)) for n in Counter(secret).values())


def _shown(secret: bytes) -> str:
    if secret.startswith(b"-----BEGIN"):
        return secret.split(b"-----")[1].decode("ascii", "replace")
    return f"{secret[:4].decode('ascii', 'replace')}... ({len(secret)} characters)"
