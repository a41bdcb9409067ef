"""Calls to a service that is a process, and looks at the processes of one."""

import os
import time
from pathlib import Path
from typing import Any

import grpc
import jwt
from tests import plain_http
from tests.issuer import Issuer
from tests.process import Service

from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

AUDIENCE = "https://orders.example"


def exchange(service: Service, issuer: Issuer, subject: str = "1842") -> pb.ExchangeTokenResponse:
    with grpc.insecure_channel(service.listen["grpc"]) as channel:
        request = pb.ExchangeTokenRequest(subject_token=issuer.token(time.time(), sub=subject), audience=AUDIENCE)
        return TokenExchangeServiceStub(channel).ExchangeToken(request, **service.auth())


def jwks(service: Service) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = plain_http.get(f"http://{service.listen['http']}/.well-known/jwks.json").json()["keys"]
    return keys


def verify(service: Service, token: str) -> dict[str, Any]:
    key = jwt.PyJWKClient(f"http://{service.listen['http']}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE)
    return claims


def processes_of(directory: Path) -> list[int]:
    """The processes whose command line names the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                cwd = (entry / "cwd").resolve()
            except OSError:
                continue
            if b"valkey" in command + os.fsencode(command) and str(cwd).startswith(str(directory)):
                found.append(int(entry.name))
    return found


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == pid and b"tokenmint.process.worker" in command:
                found.append(int(entry.name))
    return found
