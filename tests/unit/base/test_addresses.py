"""Addresses to listen on, as they are written, and addresses of peers."""

import pytest

from tokenmint.base.addresses import Address, peer_of
from tokenmint.base.key_path import key_path


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:7443", "[fe80::1%eth0]:1", "localhost:1", "a_b.example.:65535"])
def test_an_address_is_a_host_and_a_port(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["7443", "h", "h:", ":1", "h:65536", "h:" + "9" * 5000, "h:\uff11", "::1:1", "[::1:1", "[h]:1", "a..b:1", "a b:1",
     "a\0b:1", "a" * 64 + ":1", "ü:1"],
)  # fmt: skip
def test_what_no_socket_takes_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address.parse(text)


def test_a_key_is_written_as_toml_has_it_and_nothing_in_it_reaches_the_terminal() -> None:
    assert key_path("a", "https://b", "c\n\x1b") == 'a."https://b"."c\\u000a\\u001b"'


def test_of_an_ipv6_host_all_addresses_count_as_one() -> None:
    assert peer_of("2001:db8:1:2::1") == peer_of("2001:db8:1:2:ffff::9") != peer_of("2001:db8:1:3::1")
    assert peer_of("::ffff:192.0.2.1") == peer_of("192.0.2.1") != peer_of("192.0.2.2")
    assert peer_of("fe80::1%eth0") == peer_of("fe80::2%eth0")
