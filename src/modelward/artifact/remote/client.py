"""GET requests to checked addresses; redirects are followed by hand, each to a checked address."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING, Final, final
from urllib.parse import SplitResult, urljoin, urlsplit

from modelward.artifact.remote.address import resolve
from modelward.errors import RemoteRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

_TIMEOUT: Final = 30.0
_HOPS: Final = 5
FAULTS: Final = (OSError, http.client.HTTPException, ValueError)


@final
class Client:
    """Keeps one connection per host alive.

    Attributes:
        received: bytes of bodies received so far.
    """

    def __init__(self, allowed: AbstractSet[str], token: str | None = None, home: str = "") -> None:
        """`token` is sent to the host `home` alone, never to where it redirects."""
        self._allowed = allowed
        self._token = token
        self._home = home
        self._open: dict[tuple[str, str, int], http.client.HTTPConnection] = {}
        self.received = 0

    def close(self) -> None:
        """Close every connection."""
        while self._open:
            self._open.popitem()[1].close()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[http.client.HTTPResponse, str]:
        """Ask, following redirects.

        Args:
            url: http or https.
            headers: of the request.

        Returns:
            the answer, whose body was not read, and the URL that gave it.

        Raises:
            RemoteRefused: an address that must be named, another scheme, too many redirects, no answer.
        """
        for _ in range(_HOPS + 1):
            answer = self._ask(url, dict(headers or {}))
            target = answer.headers.get("Location")
            if answer.status not in {301, 302, 303, 307, 308} or target is None:
                return answer, url
            answer.read(1 << 16)
            answer.close()
            following = urljoin(url, target)
            if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
                raise RemoteRefused(
                    f"{url}: redirects from https to {urlsplit(following).scheme or 'nothing'}"
                )
            url = following
        raise RemoteRefused(f"{url}: more than {_HOPS} redirects")

    def body(self, answer: http.client.HTTPResponse, limit: int) -> bytes:
        """The body of an answer, at most `limit` bytes.

        Raises:
            RemoteRefused: it is longer, or breaks off.
        """
        try:
            content = answer.read(limit + 1)
        except FAULTS as error:
            raise RemoteRefused(f"the answer breaks off: {error}") from error
        if len(content) > limit:
            raise RemoteRefused(f"the answer is longer than {limit} bytes")
        self.received += len(content)
        return content

    def _ask(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        parts = _checked(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        shown = f"[{host}]" if ":" in host else host
        headers |= {"Host": shown if parts.port is None else f"{shown}:{port}", "User-Agent": "modelward"}
        headers.setdefault("Accept-Encoding", "identity")
        if self._token and parts.netloc == self._home:
            headers["Authorization"] = f"Bearer {self._token}"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        key = (parts.scheme, host, port)
        if key in self._open:
            try:
                return self._send(key, path, headers)
            except FAULTS:  # a connection that was kept may have been closed meanwhile
                self._open.pop(key).close()
        self._open[key] = self._connect(*key)
        try:
            return self._send(key, path, headers)
        except FAULTS as error:
            self._open.pop(key).close()
            raise RemoteRefused(f"{host} does not answer ({type(error).__name__}: {error})") from error

    def _send(
        self, key: tuple[str, str, int], path: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        self._open[key].request("GET", path, headers=headers)
        return self._open[key].getresponse()

    def _connect(self, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        connection.auto_open = 0  # the socket below is the only one, to the address that was checked
        try:
            plain = socket.create_connection(resolve(host, port, self._allowed), timeout=_TIMEOUT)
            connection.sock = (
                ssl.create_default_context().wrap_socket(plain, server_hostname=host)
                if scheme == "https"
                else plain
            )
        except OSError as error:
            raise RemoteRefused(f"{host} cannot be reached: {error}") from error
        return connection


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise RemoteRefused(f"{url[:200]!r} is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not named or any(ord(c) <= 32 for c in url):
        raise RemoteRefused(f"{url[:200]!r} is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise RemoteRefused("a URL with a user name or password in it is not asked: reports would show it")
    return parts
