"""Secrets, callers, addresses, errors."""

import copy
import inspect
import pickle
import socket

import grpc
import pytest
from google.rpc import error_details_pb2

from tokenmint.admission.gate import INTERNAL_MESSAGE
from tokenmint.base import errors, token_errors
from tokenmint.base.addresses import Address, Reservations, reserve
from tokenmint.base.errors import ConfigurationError
from tokenmint.model.secret import Secret
from tokenmint.rpc.status import CODES, code_of, to_status

CANARY = "tms_canary-value"


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(CANARY)
    shown = f"{secret} {secret!r} {secret:>20} {secret!s} {[secret]} %s" % secret  # one more way
    assert CANARY not in shown
    assert (secret.reveal(), secret.reveal_bytes(), len(secret)) == (CANARY, CANARY.encode(), len(CANARY))
    assert secret == Secret(CANARY.encode())
    assert secret != Secret("other")
    assert secret != CANARY
    assert bool(secret)
    assert not Secret("")


def test_a_secret_neither_changes_nor_travels() -> None:
    secret = Secret(CANARY)
    with pytest.raises(AttributeError):
        secret._value = b"x"
    for travel in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            travel(secret)
    with pytest.raises(TypeError):
        hash(secret)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("127.0.0.1:1", True), ("[::1]:1", True), ("localhost:1", True), ("0.0.0.0:1", False), ("[::]:1", False),
     ("example.com:1", False), ("127.0.0.2:65535", True)],
)  # fmt: skip
def test_addresses(text: str, loopback: bool) -> None:
    address = Address.parse(text)
    assert (str(address), address.is_loopback) == (text, loopback)


@pytest.mark.parametrize("text", ["", ":1", "h", "h:", "h:x", "h:65536", "::1:5", "[::1:5", "h:-1", "h:१"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address.parse(text)


def test_a_taken_port_is_noticed_even_where_it_is_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=r"listen\.grpc: can't listen on .*stop the process that listens there"
        ):
            reserve("listen.grpc", Address("127.0.0.1", port))
        with pytest.raises(ConfigurationError) as both:
            Reservations({"grpc": Address("127.0.0.1", port), "http": Address("127.0.0.1", port)})
        assert len(both.value.problems) == 2
    held = reserve("listen.grpc", Address("127.0.0.1", 0))
    with pytest.raises(ConfigurationError):
        reserve("listen.grpc", held.address)
    with socket.socket() as server:  # the service itself comes in
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", held.address.port))
        server.listen()
    held.close()
    reserve("listen.grpc", held.address).close()


def test_a_port_can_be_used_again_right_after_the_service_was_stopped() -> None:
    with socket.socket() as server:
        for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):  # as the servers do
            server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()  # who closes first keeps the connection in TIME_WAIT
            client.recv(1)
    reserve("listen.grpc", Address("127.0.0.1", port)).close()


def classes() -> list[type[errors.TokenmintError]]:
    members = inspect.getmembers(errors, inspect.isclass) + inspect.getmembers(token_errors, inspect.isclass)
    found = dict.fromkeys(kind for _, kind in members if issubclass(kind, errors.TokenmintError))
    return [kind for kind in found if kind is not errors.TokenmintError and not kind.__name__.startswith("_")]


def make(kind: type[errors.TokenmintError]) -> errors.TokenmintError:
    if issubclass(kind, errors.InvalidRequest):
        return kind([errors.FieldViolation("f", "d")])
    if issubclass(kind, errors.NotFound | errors.AlreadyExists):
        return kind("thing", "name")
    if issubclass(kind, errors.WrongState):
        return kind("m", violation="V", subject="s")
    if issubclass(kind, errors.ConfigurationError):
        return kind("problem")
    return kind()


def test_every_class_has_a_row_and_a_reason_of_its_own() -> None:
    # One that narrows another may keep its reason: callers do the same about both.
    reasons = [kind.reason for kind in classes() if "reason" in vars(kind)]
    assert len(set(reasons)) == len(reasons)
    assert all(reason == reason.upper().replace(" ", "_") for reason in reasons)
    for kind in classes():
        assert any(parent in CODES for parent in kind.__mro__), kind


@pytest.mark.parametrize("kind", classes())
def test_every_error_leaves_with_error_info_and_one_detail_of_a_kind(kind: type[errors.TokenmintError]) -> None:
    error = make(kind)
    status = to_status(error)
    assert status.code == code_of(error).value[0]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (kind.reason, "tokenmint.dev")
    assert len({detail.type_url for detail in status.details}) == len(status.details)
    if code_of(error) is grpc.StatusCode.INTERNAL:
        assert status.message == INTERNAL_MESSAGE


def test_what_is_not_ours_says_nothing() -> None:
    status = to_status(RuntimeError(CANARY))
    assert (status.code, status.message) == (grpc.StatusCode.INTERNAL.value[0], INTERNAL_MESSAGE)
    assert CANARY not in str(status)
