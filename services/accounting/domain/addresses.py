"""Which addresses events may be sent to: public ones, and networks that the operator allows.

Whoever may set a channel must not reach what only our servers can reach: the database, the
cluster, the cloud's metadata.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_network(text: str) -> Network:
    """Parses a network such as "10.1.0.0/16". Raises ValueError."""
    return ipaddress.ip_network(text.strip())


def is_allowed(host: str, allowed: Collection[Network], *, public: bool = True) -> bool:
    """Says whether events may be sent to an address. What is no address is refused.

    `public` False: only to the networks that the operator allows.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    inner = _unwrap(address)
    if any(inner in network for network in allowed if network.version == inner.version):
        return True
    return public and inner.is_global and not inner.is_multicast


def _unwrap(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 address leads to, if it leads to one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
