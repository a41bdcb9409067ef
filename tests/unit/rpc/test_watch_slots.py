"""The peers whose streams of the key set count together."""

import pytest

from tokenmint.rpc.watch_slots import network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:[::ffff:192.0.2.1]:5000", "192.0.2.1"),
        ("ipv6:[2001:db8:1:2::9]:5000", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:f::9%5D:5000", "2001:db8:1:2::/64"),  # as grpcio writes it
        ("unix:7", "unix:7"),
    ],
)
def test_streams_are_counted_by_address_and_of_ipv6_by_network(peer: str, network: str) -> None:
    assert network_of(peer) == network
