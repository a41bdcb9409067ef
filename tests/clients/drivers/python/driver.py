"""The Python driver: `tokenmint_client` as an application uses it; the protocol is in ../../README.md."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tokenmint_client import (
    AsyncVerifier,
    Client,
    ClientAssertion,
    ClientCertificate,
    ClientSecret,
    Credential,
    MemoryStore,
    ProtectedResource,
    PublicClient,
    Revocations,
    StatusLists,
    Target,
    Token,
    TokenmintError,
    TokenSource,
    VerificationError,
    Verifier,
    WorkloadToken,
    current_token,
)
from tokenmint_client.asgi import TokenMiddleware
from tokenmint_client.grpc_auth import TokenInterceptor as ClientInterceptor
from tokenmint_client.grpc_server import TokenInterceptor as ServerInterceptor
from tokenmint_client.httpx_auth import TokenAuth
from tokenmint_client.txn_token import TxnTokenVerifier, received_token, sent_headers
from tokenmint_client.v1 import key_set_service_pb2 as keys_pb
from tokenmint_client.v1.key_set_service_pb2_grpc import (
    KeySetServiceServicer,
    KeySetServiceStub,
    add_KeySetServiceServicer_to_server,
)

Command = dict[str, Any]


def credential(given: Command) -> Credential:
    """Make what proves the client."""
    match given["kind"]:
        case "secret":
            return ClientSecret(given["client_id"], given["secret"])
        case "assertion":
            key = Path(given["key_file"]).read_bytes()
            return ClientAssertion(
                given["client_id"], key, key_id=given["key_id"], audience=given["audience"],
                algorithm=given["algorithm"],
            )  # fmt: skip
        case "workload":
            return WorkloadToken(given["token_file"], given["client_id"])
        case "certificate":
            return ClientCertificate(given["cert_file"], given["key_file"])
        case _:
            return PublicClient(given["client_id"])


GATHERING = 0.2  # seconds that concurrent callers have to ask before the first is answered


class GatheringClient(Client):
    """A client whose exchanges wait while concurrent callers gather."""

    gate: threading.Event | None = None

    def exchange(self, *arguments: Any, **options: Any) -> Token:
        if self.gate is not None:
            self.gate.wait()
        return super().exchange(*arguments, **options)


class State:
    """The objects that `configure` makes."""

    def __init__(self, command: Command) -> None:
        self.offset = 0.0
        self.command = command
        timeout = {"timeout": command["timeout"]} if "timeout" in command else {}
        security = {"ca_file": command["ca_file"]} if "ca_file" in command else {"plaintext": True}
        self.client = GatheringClient(command["target"], credential(command["credential"]), **security, **timeout)
        store = MemoryStore(command["max_entries"]) if "max_entries" in command else None
        self.source = TokenSource(self.client, store=store, clock=self.clock)
        self.verifiers: dict[str, Verifier] = {}
        self.followed: dict[str, Revocations] = {}
        self.txn_verifiers: dict[str, TxnTokenVerifier] = {}
        self.stops: list[Callable[[], object]] = []

    def clock(self) -> float:
        return time.time() + self.offset

    def verifier(self, audience: str) -> Verifier:
        if audience not in self.verifiers:
            self.verifiers[audience] = Verifier(self.command["issuer"], audience, **self.options(audience))
        return self.verifiers[audience]

    def options(self, audience: str) -> dict[str, Any]:
        options = {"jwks_url": self.command["jwks_url"], "clock": self.clock, "revocations": self.revocations(audience)}
        return options | given(self.command, "accept_bound", "algorithms", "token_type")

    def revocations(self, audience: str) -> Revocations | StatusLists | None:
        if "status_lists" in self.command:
            return StatusLists(when_unavailable=self.command["status_lists"])
        if "revocations" not in self.command:
            return None
        options = {"when_lagging": self.command["revocations"], "clock": self.clock} | given(self.command, "max_lag")
        self.followed[audience] = revocations = Revocations(self.client, audience, **options)
        self.stops.append(revocations.close)
        return revocations

    def txn_verifier(self, domain: str) -> TxnTokenVerifier:
        if domain not in self.txn_verifiers:
            issuer, address = self.command["issuer"], self.command["jwks_url"]
            self.txn_verifiers[domain] = TxnTokenVerifier(issuer, domain, jwks_url=address, clock=self.clock)
        return self.txn_verifiers[domain]

    def close(self) -> None:
        for stop in self.stops:
            stop()
        self.source.close()
        self.client.close()
        for verifier in self.verifiers.values():
            verifier.close()
        for txn_verifier in self.txn_verifiers.values():
            txn_verifier.close()


def shown(token: Token) -> Command:
    return {
        "token": token.value, "token_id": token.token_id, "key_id": token.key_id, "subject": token.subject,
        "scopes": list(token.scopes), "expires_at": token.expires_at,
    }  # fmt: skip


def failed(error: TokenmintError) -> Command:
    return {
        "code": error.code, "reason": error.reason, "message": error.message, "retry_after": error.retry_after,
        "violations": list(error.violations),
    }  # fmt: skip


def given(command: Command, *names: str) -> Command:
    return {name: command[name] for name in names if name in command}


TRANSACTION = ("requested_token_type", "request_context", "request_details")


def exchange(state: State, command: Command) -> Command:
    names = ("scopes", "resources", "lifetime", "nonce", "subject_token_type", "timeout", *TRANSACTION)
    return shown(state.client.exchange(command["subject_token"], command["audience"], **given(command, *names)))


def target_of(item: Command) -> Target:
    scopes, resources = tuple(item.get("scopes", ())), tuple(item.get("resources", ()))
    return Target(item["audience"], scopes, item.get("lifetime"), resources)


def batch(state: State, command: Command) -> Command:
    targets = [target_of(item) for item in command["targets"]]
    results = state.client.exchange_batch(command["subject_token"], targets)
    return {
        "results": [
            {"error": failed(one)} if isinstance(one, TokenmintError) else {"token": shown(one)} for one in results
        ]
    }


def token(state: State, command: Command) -> Command:
    names = ("scopes", "resources", "actor_token", "actor_token_type", "dpop_jkt", *TRANSACTION)
    return shown(state.source.get(command["subject_token"], command["audience"], **given(command, *names)))


def concurrent(state: State, command: Command) -> Command:
    count = command["count"]
    asking = threading.Barrier(count + 1)
    state.client.gate = gate = threading.Event()

    def one(_: int) -> tuple[str, str]:
        asking.wait()
        try:
            return token(state, command)["token_id"], ""
        except TokenmintError as error:
            return "", error.reason

    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(one, number) for number in range(count)]
        asking.wait()
        time.sleep(GATHERING)
        gate.set()
        answers = [call.result() for call in calls]
    return {
        "token_ids": sorted({found for found, _ in answers if found}),
        "errors": [reason for _, reason in answers if reason],
    }


def advance(state: State, command: Command) -> Command:
    state.offset += command["seconds"]
    return {}


def verify(state: State, command: Command) -> Command:
    token = state.verifier(command["audience"]).verify(command["token"])
    return {"claims": token.claims, "actor": token.actor, "confirmation": token.confirmation}


def verify_txn(state: State, command: Command) -> Command:
    token = state.txn_verifier(command["audience"]).verify(command["token"])
    return {
        "txn": token.txn, "subject": token.subject, "scopes": sorted(token.scopes), "requester": token.requester,
        "tctx": dict(token.tctx), "rctx": dict(token.rctx), "claims": dict(token.claims),
    }  # fmt: skip


def txn_header(state: State, command: Command) -> Command:
    if "values" in command:
        return {"token": received_token(command["values"])}
    [(name, value)] = sent_headers(command["token"]).items()
    return {"name": name, "value": value}


class Whoami(KeySetServiceServicer):
    """Answers with who is calling."""

    def GetKeySet(self, request: keys_pb.GetKeySetRequest, context: Any) -> keys_pb.GetKeySetResponse:
        return keys_pb.GetKeySetResponse(etag=current_token().subject)

    def WatchKeySet(self, request: keys_pb.WatchKeySetRequest, context: Any) -> Iterator[keys_pb.WatchKeySetResponse]:
        return iter(())


def resource_of(command: Command) -> ProtectedResource | None:
    if "resource" not in command:
        return None
    return ProtectedResource(
        command["resource"],
        ["https://login.example"],
        scopes_supported=command.get("scopes", ()),
        require_dpop=command.get("require_dpop", False),
        nonce_key=command["nonce_key"].encode() if "nonce_key" in command else None,
    )


def protect(state: State, command: Command) -> Command:
    interceptor = ServerInterceptor(state.verifier(command["audience"]))
    server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[interceptor])
    add_KeySetServiceServicer_to_server(Whoami(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    state.stops.append(lambda: server.stop(None).wait())

    async def whoami(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.token.subject)

    verifier = AsyncVerifier(state.command["issuer"], command["audience"], **state.options(command["audience"]))
    scopes = command.get("scopes", ())
    app = TokenMiddleware(
        Starlette(routes=[Route("/{path:path}", whoami)]), verifier, scopes=scopes, resource=resource_of(command)
    )
    web = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(web.serve()), daemon=True)
    thread.start()
    while not web.started:
        time.sleep(0.01)

    def stop() -> None:
        web.should_exit = True
        thread.join()

    state.stops.append(stop)
    http_port = web.servers[0].sockets[0].getsockname()[1]
    return {"http": f"http://127.0.0.1:{http_port}", "grpc": f"127.0.0.1:{port}"}


def call_http(state: State, command: Command) -> Command:
    auth = None
    if "subject_token" in command:
        auth = TokenAuth(state.source, command["subject_token"], command["audience"])
    answer = httpx.get(command["url"], auth=auth)
    return {
        "status": answer.status_code, "body": answer.text,
        "www_authenticate": answer.headers.get("WWW-Authenticate", ""),
    }  # fmt: skip


def call_grpc(state: State, command: Command) -> Command:
    with grpc.insecure_channel(command["target"]) as channel:
        if "subject_token" in command:
            interceptor = ClientInterceptor(state.source, command["subject_token"], command["audience"])
            channel = grpc.intercept_channel(channel, interceptor)
        try:
            answer = KeySetServiceStub(channel).GetKeySet(keys_pb.GetKeySetRequest(), timeout=10)
        except grpc.RpcError as error:
            return {"code": error.code().name, "body": ""}
        return {"code": "OK", "body": answer.etag}


def lag(state: State, command: Command) -> Command:
    state.verifier(command["audience"])
    followed = state.followed[command["audience"]]
    followed.start(0.0)
    return {"lag": followed.lag if followed.begun else None, "failure": followed.error}


COMMANDS: dict[str, Callable[[State, Command], Command]] = {
    "exchange": exchange, "batch": batch, "token": token, "concurrent": concurrent, "advance": advance,
    "verify": verify, "protect": protect, "call_http": call_http, "call_grpc": call_grpc,
    "verify_txn": verify_txn, "txn_header": txn_header, "lag": lag,
}  # fmt: skip


def main() -> None:
    """Answer line by line."""
    state: State | None = None
    for line in sys.stdin:
        command = json.loads(line)
        answer: Command
        try:
            if command["do"] == "configure":
                if state is not None:
                    state.close()
                state = State(command)
                answer = {"ok": {}}
            elif state is None:
                answer = {"failure": "configure comes first"}
            else:
                answer = {"ok": COMMANDS[command["do"]](state, command)}
        except TokenmintError as error:
            answer = {"error": failed(error)}
        except VerificationError as error:
            answer = {
                "error": {
                    "code": "",
                    "reason": error.reason,
                    "message": error.message,
                    "retry_after": None,
                    "violations": [],
                }
            }
        except Exception as error:  # noqa: BLE001  # the runner is told of each
            answer = {"failure": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    if state is not None:
        state.close()


if __name__ == "__main__":
    main()
