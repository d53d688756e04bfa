"""Where a ledger is: a folder, or a database that a URL names.

A URL is ``postgresql://USER@HOST:PORT/DATABASE``, with ``?host=/folder`` for a Unix socket. A password in it
would be seen by everybody who may list processes, so it comes from PGPASSWORD, from the file that PGPASSFILE
names, or in a whole URL that lies in the environment and is named as ``env:NAME``.
"""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from modelward.core.home import home
from modelward.errors import ConfigInvalid, KeyUnusable

SCHEMES: Final = ("postgresql://", "postgres://")
LOCAL: Final = Path(".modelward")
"""Where arrays that evidence refers to go when the records are in a database."""
_KNOWN: Final = {"host", "sslmode", "sslrootcert"}
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_MOST_BYTES: Final = 1 << 20


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A database, without its password.

    Attributes:
        host: name or address; a folder (it begins with a slash) holds a Unix socket.
        port: of the server.
        user: who connects.
        database: which one.
        secured: by TLS with the server's name verified.
        roots: file of certificates to verify by; null: the system's.
    """

    host: str
    port: int
    user: str
    database: str
    secured: bool
    roots: str | None = None

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"


def is_database(place: str | Path) -> bool:
    """Whether a place is named by a URL and not a folder."""
    return str(place).startswith((*SCHEMES, "env:"))


def local_folder(place: str | Path) -> Path:
    """The folder for what lies beside the records: the ledger's own, or `.modelward` here."""
    return LOCAL if is_database(place) else Path(place)


def server_of(place: str) -> tuple[Server, str | None]:
    """Read a URL.

    Args:
        place: the URL, or ``env:NAME`` for one that lies in the environment.

    Returns:
        The server, and the password if one is known.

    Raises:
        ConfigInvalid: it is no such URL, or holds a password although it was not read from the environment.
        KeyUnusable: others may read the file of passwords.
    """
    named = place.startswith("env:")
    url = os.environ.get(place.removeprefix("env:"), "") if named else place
    if not url.startswith(SCHEMES):
        raise ConfigInvalid(
            f"{place if named else url[:40]!r} names no database; give postgresql://USER@HOST/NAME"
        )
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
        queried = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigInvalid("the URL of the database cannot be read") from error
    if parts.password is not None and not named:
        raise ConfigInvalid(
            "the URL of the database holds a password, which everybody who lists processes can read",
            advice="Set PGPASSWORD or PGPASSFILE instead, or put the URL into a variable and say env:NAME.",
        )
    if unknown := sorted(set(queried) - _KNOWN):
        raise ConfigInvalid(
            f"the URL of the database says {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}"
        )
    query = {name: values[-1] for name, values in queried.items()}
    host = query.get("host") or unquote(parts.hostname or "localhost")
    user = unquote(parts.username) if parts.username else _this_user()
    server = Server(
        host=host,
        port=port,
        user=user,
        database=unquote(parts.path.removeprefix("/")) or user,
        secured=_secured(query.get("sslmode"), host),
        roots=query.get("sslrootcert"),
    )
    stated = unquote(parts.password) if parts.password is not None else None
    return server, stated or os.environ.get("PGPASSWORD") or _from_file(server)


def _this_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise ConfigInvalid(
            "the database's URL names no user, and this one has no name", advice="Write user@ into it."
        ) from error


def _secured(mode: str | None, host: str) -> bool:
    """A server elsewhere is spoken to by verified TLS alone, unless the user spells that it is not."""
    if mode is None:
        return not host.startswith("/") and host not in _LOOPBACK
    if mode not in {"verify-full", "unsafe-disable"}:
        raise ConfigInvalid(f"sslmode is {mode[:40]!r}; known are verify-full and unsafe-disable")
    return mode == "verify-full"


def _from_file(server: Server) -> str | None:
    """The password in the file of passwords: lines ``host:port:database:user:password``, ``*`` for any."""
    path = Path(os.environ.get("PGPASSFILE") or home() / ".pgpass")
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(_MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None
    if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyUnusable(f"{path}: others than its owner may use it", advice=f"Run `chmod 600 {path}`.")
    host = "localhost" if server.host.startswith("/") else server.host
    wanted = (host, str(server.port), server.database, server.user)
    for line in text.splitlines():
        fields = _fields(line)
        if len(fields) == 5 and all(f in {"*", w} for f, w in zip(fields, wanted, strict=False)):
            return fields[4]
    return None


def _fields(line: str) -> list[str]:
    r"""Split at colons; ``\:`` and ``\\`` stand for themselves."""
    if line.startswith("#"):
        return []
    fields, escaped = [""], False
    for letter in line:
        if letter == ":" and not escaped and len(fields) < 5:
            fields.append("")
        elif letter == "\\" and not escaped:
            escaped = True
            continue
        else:
            fields[-1] += letter
        escaped = False
    return fields
