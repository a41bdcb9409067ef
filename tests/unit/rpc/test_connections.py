"""The shares of a gRPC listener's connections: who is asked to go, and that these go."""

import contextlib
import os
import resource
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmint.rpc.connections import Shares, beyond, spare
from tokenmint.rpc.own_sockets import Slot

PEERS = st.lists(st.sampled_from("abcdefgh"), max_size=60)
MANY = 10**6


@given(PEERS, st.integers(1, 70), st.integers(1, 70))
def test_the_limits_are_kept_and_no_peer_gives_up_a_connection_for_one_that_has_more(
    peers: list[str], total: int, each_peer: int
) -> None:
    ended = beyond(peers, total, each_peer)
    kept = Counter(peer for place, peer in enumerate(peers) if place not in set(ended))
    assert kept.total() <= total
    assert max(kept.values(), default=0) <= each_peer
    if total >= len(set(peers)):
        for loser in {peers[place] for place in ended}:
            assert kept[loser] == max(kept.values())
    for place in ended:  # the newest of each peer
        assert all(later in ended for later in range(place, len(peers)) if peers[later] == peers[place])


@given(PEERS, st.integers(1, 70), st.integers(1, 70))
def test_nobody_is_asked_to_go_where_all_have_room(peers: list[str], total: int, each_peer: int) -> None:
    if len(peers) <= total and max(Counter(peers).values(), default=0) <= each_peer:
        assert beyond(peers, total, each_peer) == []


def test_one_peer_alone_may_have_every_connection() -> None:
    assert beyond(["proxy"] * 12, 10, MANY) == [10, 11]
    assert beyond(["proxy"] * 10, 10, MANY) == []


def test_a_peer_that_comes_late_gets_its_share_from_the_peer_with_the_most() -> None:
    assert beyond([*["greedy"] * 10, "late"], 10, MANY) == [9]
    assert beyond([*["greedy"] * 10, *["late"] * 5], 10, MANY) == [5, 6, 7, 8, 9]


def test_more_peers_than_connections_leave_the_oldest() -> None:
    assert beyond(list("abcd"), 3, MANY) == [3]


def test_a_transport_has_room_beyond_the_limit_so_that_late_peers_are_seen() -> None:
    assert [spare(total) for total in (1, 8, 256, 10_000)] == [1, 2, 33, 1251]


class Listening:
    """A socket that listens, and the connections to it that the test has accepted, in the place of a transport."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.accepted: list[socket.socket] = []
        self.clients: list[socket.socket] = []

    def connect(self, count: int, peer: str = "127.0.0.1") -> list[socket.socket]:
        """Connect ``count`` times from one address."""
        made = []
        for _ in range(count):
            made.append(socket.create_connection(("127.0.0.1", self.port), source_address=(peer, 0)))
            self.accepted.append(self.socket.accept()[0])
        self.clients += made
        return made

    def close(self) -> None:
        for one in (self.socket, *self.accepted, *self.clients):
            one.close()


@pytest.fixture
def listening() -> Iterator[Listening]:
    with contextlib.closing(Listening()) as made:
        yield made


@pytest.fixture
def slot() -> Iterator[Slot]:
    with contextlib.closing(Slot()) as made:
        yield made


def ended(clients: list[socket.socket]) -> list[bool]:
    """Tell for each client whether the service has ended its connection."""
    found = []
    for client in clients:
        client.setblocking(False)
        try:
            found.append(client.recv(1) == b"")
        except BlockingIOError:
            found.append(False)
    return found


def test_the_newest_connections_of_the_peer_with_the_most_are_ended(listening: Listening, slot: Slot) -> None:
    counted: Counter[str] = Counter()
    shares = Shares({listening.port: "grpc"}, 6, MANY, lambda name, count: counted.update({name: count}))
    first = listening.connect(5)
    assert shares.look(slot) == 0
    late, more = listening.connect(2, "127.0.0.2"), listening.connect(2)
    assert shares.look(slot) == 3
    assert (ended(first), ended(late), ended(more)) == ([False] * 4 + [True], [False] * 2, [True] * 2)
    assert shares.look(slot) == 0  # those that were ended are not counted until the transport has closed them
    assert counted == {"grpc": 3}


def test_a_peer_may_have_a_limit_of_its_own(listening: Listening, slot: Slot) -> None:
    shares = Shares({listening.port: "grpc"}, 100, 3, lambda *_: None)
    first, other = listening.connect(4), listening.connect(3, "127.0.0.2")
    assert shares.look(slot) == 1
    assert (ended(first), ended(other)) == ([False] * 3 + [True], [False] * 3)


def test_each_listener_has_limits_of_its_own_and_other_connections_have_none(listening: Listening, slot: Slot) -> None:
    with contextlib.closing(Listening()) as admin, contextlib.closing(Listening()) as other:
        shares = Shares({listening.port: "grpc", admin.port: "admin"}, 2, 2, lambda *_: None)
        clients = listening.connect(3), admin.connect(3), other.connect(3)
        assert shares.look(slot) == 2
        assert [ended(some) for some in clients] == [[False, False, True], [False, False, True], [False] * 3]


def test_a_number_that_another_connection_has_got_since_is_not_taken_for_the_first(
    listening: Listening, slot: Slot
) -> None:
    shares = Shares({listening.port: "grpc"}, 2, 2, lambda *_: None)
    first = listening.connect(3)
    assert shares.look(slot) == 1
    assert ended(first) == [False, False, True]
    for one in listening.accepted[:2]:
        one.close()
    again = listening.connect(2)  # with the numbers of those two
    assert shares.look(slot) == 0
    assert ended(again) == [False, False]


def test_with_no_file_descriptor_left_connections_are_ended_all_the_same(listening: Listening, slot: Slot) -> None:
    shares = Shares({listening.port: "grpc"}, 2, 2, lambda *_: None)
    clients = listening.connect(4)
    assert shares.look(slot) == 2
    late = listening.connect(1)
    used = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208  # of the kernel
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    filled = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.open(os.devnull, os.O_RDONLY))
        assert shares.look(slot) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in filled:
            os.close(number)
    assert (ended(clients), ended(late)) == ([False, False, True, True], [True])
