"""Secrets in texts: tokens whose form says what they are, keys, and passwords in places where they are one.

Patterns are those that issuers publish (prefix, alphabet, length). A match of too little variety, or one that
says that it is an example, is passed over. A secret is never repeated: a report shows its first characters.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.events import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LONGEST: Final = 16 << 20
"""Bytes of a text that are looked at."""
KEPT: Final = 100
"""Most secrets of one text that are reported."""
_REMEDY: Final = "Revoke it where it was issued, then remove it here and from the history."


class Pattern(msgspec.Struct, frozen=True):
    """One form of secret.

    Attributes:
        rule: last part of the rule's name.
        what: in words.
        literals: bytes of which one must occur; looked for first, at memory speed.
        form: the secret, or its group 1.
        severity: how bad a match is.
        entropy: least Shannon entropy of the secret, in bits per character.
    """

    rule: str
    what: str
    literals: tuple[bytes, ...]
    form: re.Pattern[bytes]
    severity: Severity
    entropy: float


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
        )
        for one in tomllib.loads(text)["pattern"]
    )


_EXAMPLE: Final = re.compile(
    rb"(?i)example|sample|dummy|placeholder|changeme|change-me|your|<|\$\{|\{\{|%\(|xxxx|\*\*\*|0123456789|1234567890|"
    rb"abcdefghij|deadbeef|foobar|redacted|insert|replace|not-?a-?real|fake|test[_-]?(?:key|token|secret)"
)
_PASSWORD_VALUE: Final = re.compile(rb"(?=.*\d)(?=.*[A-Za-z])[\x21-\x7e]+")
_CODE: Final = re.compile(
    rb"[()\[\] ]|::|^(?:https?|file|s3|gs)://|^[./~]|^[\w.-]+/[\w./-]+$|^[a-z_]+(?:[._-][a-z_]+)*$"
)


def read(data: Buffer, into: Reading) -> None:
    """Report every secret with its line."""
    content = bytes(data[:LONGEST])
    if len(data) > LONGEST:
        into.note("secrets.unread", f"secrets were looked for in the first {LONGEST} bytes")
    for pattern, start, secret in list(_found(content))[:KEPT]:
        into.finding(
            f"secrets.{pattern.rule}",
            pattern.severity,
            f"{pattern.what} stands in the text: {_shown(secret)}",
            line=content.count(b"\n", 0, start) + 1,
            remedy=_REMEDY,
        )


def _found(content: bytes) -> Iterator[tuple[Pattern, int, bytes]]:
    """(pattern, offset, secret); of overlapping matches, the first pattern's counts."""
    taken: list[tuple[int, int]] = []
    for pattern in patterns():
        if not any(literal in content for literal in pattern.literals):
            continue
        for match in pattern.form.finditer(content):
            group = next(index for index in range(1, match.re.groups + 1) if match[index] is not None)
            secret, (start, end) = match[group], match.span(group)
            if any(start < late and early < end for early, late in taken):
                continue
            if _plausible(pattern, secret):
                taken.append((start, end))
                yield pattern, start, secret
                if len(taken) > KEPT:
                    return


def _plausible(pattern: Pattern, secret: bytes) -> bool:
    if _EXAMPLE.search(secret) or _entropy(secret) < pattern.entropy:
        return False
    return pattern.rule != "password" or bool(_PASSWORD_VALUE.fullmatch(secret) and not _CODE.search(secret))


def _entropy(secret: bytes) -> float:
    """Shannon entropy of the characters, in bits per character."""
    return -sum(n / len(secret) * math.log2(n / len(secret)) for n in Counter(secret).values())


def _shown(secret: bytes) -> str:
    if secret.startswith(b"-----BEGIN"):
        return secret.split(b"-----")[1].decode("ascii", "replace")
    return f"{secret[:4].decode('ascii', 'replace')}... ({len(secret)} characters)"
