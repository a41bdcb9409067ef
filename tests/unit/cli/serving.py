"""Admin services that record what the command line sends, and commands that are sent to them."""

import os
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from google.rpc import status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner

from tokenmint.cli import app, run
from tokenmint.v1 import (
    key_admin_service_pb2,
    key_admin_service_pb2_grpc,
    profile_admin_service_pb2,
    profile_admin_service_pb2_grpc,
    profile_pb2,
    signing_key_pb2,
)


class Keys(key_admin_service_pb2_grpc.KeyAdminServiceServicer):
    """Lists one key on each page, or refuses."""

    def __init__(self) -> None:
        self.callers: list[dict[str, Any]] = []
        self.refusal: status_pb2.Status | None = None
        self.cancels = False
        self.ids: list[str] = []
        """The ids of its keys, if not those of its pages."""

    def ListSigningKeys(self, request: Any, context: Any) -> Any:
        self.callers.append(dict(context.invocation_metadata()))
        if self.cancels:  # as gRPC's core does at overload
            context.abort(grpc.StatusCode.CANCELLED, "")
        if self.refusal is not None:
            context.abort_with_status(rpc_status.to_status(self.refusal))
        if self.ids:
            keys = [signing_key_pb2.SigningKey(key_id=one) for one in self.ids]
            return key_admin_service_pb2.ListSigningKeysResponse(signing_keys=keys)
        page = int(request.page_token or "0")
        key = signing_key_pb2.SigningKey(key_id=f"{page}-" + "k" * 120, algorithm="ES256\x1b[31m", revoke_reason="\x9b")
        following = str(page + 1) if page < 2 else ""
        return key_admin_service_pb2.ListSigningKeysResponse(signing_keys=[key], next_page_token=following)

    def GetSigningKey(self, request: Any, context: Any) -> Any:
        key = signing_key_pb2.SigningKey(key_id=request.key_id)
        return key_admin_service_pb2.GetSigningKeyResponse(signing_key=key)

    def RevokeSigningKey(self, request: Any, context: Any) -> Any:
        key = signing_key_pb2.SigningKey(key_id=request.key_id)
        return key_admin_service_pb2.RevokeSigningKeyResponse(signing_key=key)

    def GetKeyRingStatus(self, request: Any, context: Any) -> Any:
        seen = key_admin_service_pb2.KeySetVerifier(address="ipv4:10.0.0.7", agent="late\x1b/1", missing_key_ids=["k2"])
        other = key_admin_service_pb2.KeySetVerifier(address="ipv4:10.0.0.8", agent="jose/6")
        replica = key_admin_service_pb2.KeyRingReplica(replica="replica-a", generation=7)
        return key_admin_service_pb2.GetKeyRingStatusResponse(generation=7, replicas=[replica], verifiers=[seen, other])

    def ResealSigningKeys(self, request: Any, context: Any) -> Any:
        return key_admin_service_pb2.ResealSigningKeysResponse(encryption_key_id="0123456789abcdef")


class Profiles(profile_admin_service_pb2_grpc.ProfileAdminServiceServicer):
    """Counts what is imported; refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.principals: list[str] = []
        self.sizes: list[int] = []
        """The numbers of profiles of imports, in the order of their ends."""
        self.bytes: list[int] = []
        """The sizes of their messages."""
        self.refused: set[str] = set()
        self.refusals: list[status_pb2.Status | None] = []
        """Of the next imports; None: it is taken."""
        self.old = False
        """Whether it knows one profile in each message, as earlier versions."""
        self._lock = threading.Lock()

    def CreateProfile(self, request: Any, context: Any) -> Any:
        if request.profile.principal == "there":
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "profile 'there': it exists already")
        return profile_admin_service_pb2.CreateProfileResponse(profile=request.profile)

    def GetProfile(self, request: Any, context: Any) -> Any:
        profile = profile_pb2.Profile(principal=request.principal, roles=["clerk"])
        return profile_admin_service_pb2.GetProfileResponse(profile=profile)

    def DeleteProfile(self, request: Any, context: Any) -> Any:
        return profile_admin_service_pb2.DeleteProfileResponse()

    def ImportProfiles(self, request_iterator: Any, context: Any) -> Any:
        requests = list(request_iterator)
        names = [one.principal for request in requests for one in request.profiles]
        with self._lock:
            refusal = self.refusals.pop(0) if self.refusals else None
            self.sizes.append(len(names))
            self.bytes += [request.ByteSize() for request in requests]
            if refusal is None:
                self.principals += names
        if refusal is not None:
            context.abort_with_status(rpc_status.to_status(refusal))
        if self.old:
            return profile_admin_service_pb2.ImportProfilesResponse(failed_count=len(requests))
        failures = [
            profile_admin_service_pb2.ImportFailure(index=index, principal=name, reason="X", message="no")
            for index, name in enumerate(names)
            if name in self.refused
        ]
        return profile_admin_service_pb2.ImportProfilesResponse(
            created_count=len(names) - len(failures), failed_count=len(failures), failures=failures
        )


class Served:
    """A server on a free loopback port with the two services."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.keys = Keys()  # type: ignore[abstract]  # what is not called answers UNIMPLEMENTED
        self.profiles = Profiles()  # type: ignore[abstract]  # as above
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        key_admin_service_pb2_grpc.add_KeyAdminServiceServicer_to_server(self.keys, self.server)
        profile_admin_service_pb2_grpc.add_ProfileAdminServiceServicer_to_server(self.profiles, self.server)
        place = "127.0.0.1:0"
        port = self.server.add_secure_port(place, credentials) if credentials else self.server.add_insecure_port(place)
        self.target = f"127.0.0.1:{port}"
        self.server.start()


@contextmanager
def served(credentials: grpc.ServerCredentials | None = None) -> Iterator[Served]:
    running = Served(credentials)
    try:
        yield running
    finally:
        running.server.stop(None).wait(timeout=10)


def call(*arguments: str, stdin: str | bytes = "", **environ: str) -> tuple[int, str, str]:
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command()
    def invoke() -> None:
        raise typer.Exit(run(lambda: app(list(arguments))))

    result = CliRunner().invoke(wrapper, [], input=stdin, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.stderr
    return result.exit_code, result.stdout, result.stderr


def as_root(service: Served, **more: str) -> dict[str, str]:
    return {"TOKENMINT_TARGET": service.target, "TOKENMINT_CLIENT_ID": "root", "TOKENMINT_CLIENT_SECRET": "s", **more}


def refusal(code: int, message: str, *details: Any) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def as_nobody(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Take away the settings and the operator of the person that runs the tests."""
    for name in [name for name in os.environ if name.startswith("TOKENMINT_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(directory)
