"""Files that exist to hold credentials: `.netrc`, `.pypirc`, `.npmrc`, `.pgpass`, `kaggle.json`, `.env`.

Sources: GNU inetutils (.netrc), PyPA packaging guide (.pypirc), npm 11 (.npmrc), PostgreSQL 18 (.pgpass),
Kaggle API (kaggle.json), AWS CLI 2 (credentials), Docker Compose (.env).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.events import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator


class Place(msgspec.Struct, frozen=True):
    """Where a kind of file holds its secret.

    Attributes:
        names: pattern of the whole last part of its path, in lower case.
        rule: of the finding.
        what: in words.
        form: group 1 is the secret; with two groups, group 1 is its name.
        severity: how bad it is.
    """

    names: re.Pattern[str]
    rule: str
    what: str
    form: re.Pattern[bytes]
    severity: Severity


def _place(names: str, rule: str, what: str, form: bytes, severity: Severity) -> Place:
    return Place(re.compile(names), rule, what, re.compile(form), severity)


PLACES: Final = (
    _place(r"[._]netrc", "secrets.netrc-password", "the password of a machine",
           rb"\bpassword[ \t\n]+(\S+)", "high"),
    _place(r"\.pypirc", "secrets.pypirc-password", "the password or token of a package index",
           rb"(?m)^[ \t]*password[ \t]*[=:][ \t]*(\S+)", "high"),
    _place(r"\.npmrc", "secrets.npmrc-token", "the token or password of a package registry",
           rb"(?m)(?:^|:)_(?:authToken|auth|password)[ \t]*=[ \t]*(\S+)", "high"),
    _place(r"\.pgpass", "secrets.pgpass-password", "the password of a database",
           rb"(?m)^[^#:\n][^:\n]*(?::[^:\n]*){3}:([^:\n]+)$", "high"),
    _place(r"kaggle\.json", "secrets.kaggle-key", "a Kaggle key",
           rb'"key"\s{0,9}:\s{0,9}"([0-9a-f]{32})"', "high"),
    _place(r"\.env(\..+)?|.+\.env|credentials|\.boto|\.s3cfg|secrets?\.(ya?ml|toml|txt)",
           "secrets.credential", "a credential",
           rb"(?m)^[ \t]*(?:export )?[\"']?([A-Za-z_][\w.-]{0,99})[\"']?[ \t]*[=:][ \t]*([^\r\n]{1,500})",
           "medium"),
)  # fmt: skip
"""Every kind of such a file."""
_SECRET: Final = re.compile(
    r"(?i)(?:^|[_.-]|(?<=[a-z]))(?:password|passwd|passphrase|secret|token|credentials?|"
    r"(?:api|private|access|secret|account)[_-]?key)$"
)
_WORD: Final = re.compile(
    r"(?i)(?:^|_)(?:bos|eos|pad|unk|sep|cls|mask|stop|end|start|special|image|max|min|num)_?tokens?$|public_?key$"
)
_PLACE: Final = re.compile(
    r"\s|\$\{|^\$|\{\{|<|^[/~]|^\w+://|^file:|^(true|false|none|null|changeme|change-me|x{3,}|\*{3,}|\.{3,})$",
    re.IGNORECASE,
)


def secret(name: str, value: str) -> bool:
    """Whether a name says that its value is secret, and the value is no place, no variable and no example."""
    return bool(
        _SECRET.search(name) and not _WORD.search(name) and len(value) >= 6 and not _PLACE.search(value)
    )


def found(path: str, content: bytes) -> Iterator[tuple[Place, int, bytes]]:
    """(place, offset, secret) of a file that exists to hold credentials; nothing for any other.

    Args:
        path: of the file; its last part is looked at.
        content: of the file.
    """
    leaf = re.split(r"[/\\!]", path.lower())[-1]
    for place in PLACES:
        if place.names.fullmatch(leaf):
            for match in place.form.finditer(content):
                value = match[match.re.groups].strip().strip(b"\"'")
                name = match[1].decode("ascii", "replace") if match.re.groups == 2 else "password"
                if secret(name, value.decode("ascii", "replace")):
                    yield place, match.start(match.re.groups), value
