"""Which addresses may be asked: a URL out of a list must not reach into the reader's own network."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from modelward.errors import RemoteRefused

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int, allowed: AbstractSet[str]) -> tuple[str, int]:
    """The one address that is connected to; it is resolved once, so that the name cannot change meanwhile.

    Args:
        host: name or address.
        port: TCP port.
        allowed: hosts that the user named, whatever their address.

    Returns:
        address and port.

    Raises:
        RemoteRefused: the name does not resolve, or one of its addresses is not public and it was not named.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RemoteRefused(f"{host}: the name cannot be resolved ({error})") from error
    addresses = [str(entry[4][0]).split("%")[0] for entry in found]
    if host not in allowed:
        hidden = next((text for text in addresses if not _public(ipaddress.ip_address(text))), None)
        if hidden is not None:
            raise RemoteRefused(
                f"{host} has the address {hidden}, which is not public",
                advice=f"Give --unsafe-host {host} if you mean to ask it.",
            )
    return addresses[0], port


def _public(address: Address) -> bool:
    """Neither private, loopback, link-local, multicast nor reserved, also behind IPv6 mappings of IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _public(inner)
    return address.is_global and not address.is_multicast
