"""Events go to public addresses and to what the operator allows, and nowhere else."""

from __future__ import annotations

import pytest

from services.accounting.domain.addresses import is_allowed, parse_network

PUBLIC = ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34")
INNER = (
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    # The metadata of clouds.
    "169.254.169.254",
    "fd00:ec2::254",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    # Ways to write an inner IPv4 address as an IPv6 one.
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    # No addresses.
    "localhost",
    "",
    "2130706433",
    "0x7f.1",
)


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses_are_allowed(host: str) -> None:
    assert is_allowed(host, ())
    assert not is_allowed(host, (), public=False)


@pytest.mark.parametrize("host", INNER)
def test_inner_addresses_are_not(host: str) -> None:
    assert not is_allowed(host, ())
    assert not is_allowed(host, [parse_network("10.9.0.0/16"), parse_network("fd01::/16")])


@pytest.mark.parametrize("public", [True, False])
def test_the_operator_may_allow_networks(public: bool) -> None:
    allowed = [parse_network("fd00::/8"), parse_network(" 10.1.0.0/16")]

    assert is_allowed("10.1.2.3", allowed, public=public)
    assert is_allowed("::ffff:10.1.2.3", allowed, public=public)
    assert is_allowed("fd00::7", allowed, public=public)
    assert not is_allowed("10.2.2.3", allowed, public=public)


@pytest.mark.parametrize("text", ["", "10.1.2.3/8", "localhost", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits|not permitted"):
        parse_network(text)
