"""Rules on shell commands, wherever they stand: scripts, notebooks' magics, constants in source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.events import Severity

LONGEST: Final = 4096
"""Characters of one command that are looked at."""

_PIPED: Final = re.compile(
    r"\b(?:curl|wget)\b[^|;&]{0,2000}\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:ba|z|da|k|c)?sh\b"
)
_SUBSTITUTED: Final = re.compile(r"\b(?:ba|z|da)?sh\s+(?:-c\s+)?[\"']?(?:<\(|\$\(|`)\s*(?:curl|wget)\b")
_PIPED_PYTHON: Final = re.compile(
    r"\b(?:curl|wget)\b[^|;&]{0,2000}\|\s*(?:sudo\s+)?(?:python[\d.]*|perl|ruby|node)\b"
)
_CURL_K: Final = re.compile(
    r"\bcurl\b(?:\s+(?!-k\b|--insecure\b)[^\s|;&]+){0,30}\s+(?:-[a-zA-Z]*k[a-zA-Z]*|--insecure)(?=\s|$)"
)
_WGET: Final = re.compile(r"\bwget\b[^|;&]{0,2000}--no-check-certificate\b")
_GIT: Final = re.compile(r"http\.sslVerify[= ]\"?false|GIT_SSL_NO_VERIFY=(?:1|true)", re.IGNORECASE)
_PIP: Final = re.compile(r"\bpip[\d.]*\s+install\b")
_PIP_HTTP: Final = re.compile(r"(?:^|\s|=)(?:git\+)?http://(?!localhost|127\.)\S+")
_PIP_TRUSTED: Final = re.compile(r"--trusted-host\b")
_PIP_EXTRA: Final = re.compile(
    r"--extra-index-url[= ]+(?!https://download\.pytorch\.org|https://pypi\.nvidia\.com)\S+"
)


def insecure(command: str) -> Iterator[tuple[str, Severity, str, str]]:
    """Weaknesses of one command: rule, severity, message and remedy, the worst first."""
    text = command[:LONGEST]
    if _PIPED.search(text) or _SUBSTITUTED.search(text) or _PIPED_PYTHON.search(text):
        plain = "http://" in text
        message = "a download is run as a program, unseen" + (
            ", over an unencrypted connection" if plain else ""
        )
        remedy = "download it, compare its hash with a known one, and run it then"
        yield "runs-download", "high" if plain else "medium", message, remedy
    if _CURL_K.search(text) or _WGET.search(text) or _GIT.search(text):
        message = "certificates are not checked: anyone on the way can replace the download"
        yield "tls-disabled", "high", message, "remove the option, and install the authority's certificate"
    if _PIP.search(text):
        yield from _installs(text)


def _installs(text: str) -> Iterator[tuple[str, Severity, str, str]]:
    if _PIP_HTTP.search(text) or _PIP_TRUSTED.search(text):
        message = "packages are installed over a connection that anyone on the way can change"
        yield "pip-insecure", "high", message, "install over https, pinned and with hashes"
    elif _PIP_EXTRA.search(text):
        message = "a second package index may answer for any name (dependency confusion)"
        yield "pip-extra-index", "medium", message, "use one index, or pin names to it"
