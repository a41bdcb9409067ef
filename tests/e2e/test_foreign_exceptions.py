"""An exception's own text never leaves, at each place where a call may fail: each way out is walked.

A canary stands for the text: it may be what a caller, a provider or a store has sent. It is looked for in answers,
their details and metadata, in the log, in metrics, in readiness, and in the audit streams.
"""

import asyncio
import itertools
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio
import structlog
from tests import plain_http
from tests.console import LISTEN
from tests.e2e.every_call import Calls
from tests.rig import DEADLINE, Rig, Serve, person

from tokenmint.admission import audit, audit_stream
from tokenmint.admission.audit import AuditTrail
from tokenmint.admission.callers import Callers, ClientAuthenticator
from tokenmint.admission.gate import INTERNAL_MESSAGE
from tokenmint.admission.rate_limit import RateLimiter
from tokenmint.admission.refusal_budget import RefusalBudget
from tokenmint.base import logs
from tokenmint.base.log_writer import LineWriter
from tokenmint.base.readiness import Readiness
from tokenmint.base.telemetry import Metrics
from tokenmint.formats.minter import Minter
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.policy.grant import Policy
from tokenmint.rpc import convert, interceptors
from tokenmint.storage.redis import Store
from tokenmint.v1.profile_pb2 import Profile
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier

CANARY: Final = "canary-of-a-foreign-text"
EXTRA: Final = """
[caches]
profiles = 0

[oauth]
enabled = true

[envoy]
enabled = true
audience = "https://orders.example"
"""


class PanicException(BaseException):
    """Stands for `pyo3_runtime.PanicException`, which a panic in a library of Rust raises, and nobody can make."""


KINDS: Final[Mapping[str, Callable[[], BaseException]]] = {
    "RuntimeError": lambda: RuntimeError(CANARY),
    "BrokenPipeError": lambda: BrokenPipeError(32, CANARY, CANARY),
    "KeyError": lambda: KeyError(CANARY),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    "RecursionError": lambda: RecursionError(CANARY),
    "MemoryError": lambda: MemoryError(CANARY),
    "ExceptionGroup": lambda: ExceptionGroup(CANARY, [ValueError(CANARY)]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup(CANARY, [asyncio.CancelledError(CANARY)]),
    "PanicException": lambda: PanicException(CANARY),
}
WAY: Final[dict[str, tuple[Any, str]]] = {
    "a client's proof": (ClientAuthenticator, "client"),
    "an operator's proof": (Callers, "operator"),
    "rate limit": (RateLimiter, "take"),
    "policy": (Policy, "admit"),
    "decision": (Policy, "decide"),
    "verification": (Verifier, "verify"),
    "tokens of ours": (IssuedTokenVerifier, "verify"),
    "one value of the store": (Store, "get"),
    "several values of the store": (Store, "read_many"),
    "a scan of the store": (Store, "scan"),
    "a write to the store": (Store, "_write"),
    "signer": (SigningKeys, "signer"),
    "published keys": (SigningKeys, "published"),
    "mint": (Minter, "mint"),
    "single use": (ReplayGuard, "consume"),
    "record of a change": (AuditTrail, "record"),
    "a change's stream": (audit_stream.AuditStream, "write"),
    "known verifiers": (JwksFetchLog, "saw"),
    "time limit": (interceptors, "TimeLimit"),
    "conversion of an answer": (convert, "minted_token"),
    "readiness": (Readiness, "problems"),
    "metrics' page": (Metrics, "render"),
}
"""Places that a call goes through: a failure there fails the call, with the constant answer."""
ONCE: Final = ("/RotateSigningKey", "/PrepareSigningKey", "/CreateProfile", "/DeleteProfile", "/LinkIdentity")
"""Methods whose answer is another one the second time."""
SHARED: Final = {("several values of the store", kind) for kind in ("BaseExceptionGroup", "PanicException")}
"""A read that several calls share, and that ends with none of Exception's, is a store out of reach to each of them."""
BESIDE: Final[dict[str, tuple[Any, str]]] = {
    "the count of a call": (Metrics, "call"),
    "the count of a token": (Metrics, "minted"),
    "an audit event": (AuditTrail, "note"),
    "the place of an event": (audit_stream.AuditStream, "add"),
    "the budget of refusals": (RefusalBudget, "take"),
    "a line of the log": (LineWriter, "put"),
    "a line's text": (logs, "bounded_json"),
}
"""Places that record a call: the answer is right even after a failure here."""


@contextmanager
def logged_to(file: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Write the log as a process does; yield a function that returns what is in it so far."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = logs.configure("debug", "json", LineWriter(descriptor))

    def read() -> list[dict[str, Any]]:
        assert writer.flush(DEADLINE)
        return [json.loads(line) for line in file.read_text().splitlines()]

    yield read
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level
    assert writer.flush(DEADLINE)
    os.close(descriptor)


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The log of a test; called, it returns what is in it so far."""
    with logged_to(tmp_path / "log") as read:
        yield read


@asynccontextmanager
async def populated(serve: Serve, transport: str) -> AsyncIterator[Rig]:
    """Run a service that has profiles."""
    async with serve(EXTRA, transport=transport, listen=LISTEN) as service:
        await service.create(person("ada", "1842", "clerk"), Profile(principal="bob"))
        yield service


@pytest.fixture
async def rig(serve: Serve, transport: str, lines: object) -> AsyncIterator[Rig]:
    assert lines
    async with populated(serve, transport) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_its_way(
    serve_module: Callable[[], Serve], transport: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """The places that each call goes through: a fault anywhere else would change nothing of its answer."""
    found: dict[str, list[str]] = {}
    with logged_to(tmp_path_factory.mktemp("ways") / "log"):
        async with populated(serve_module(), transport) as service, plain_http.client(timeout=DEADLINE) as http:
            async for name, call in Calls(service, http).all():
                watches = {place: Fault(where) for place, where in (WAY | BESIDE).items()}
                with pytest.MonkeyPatch.context() as patch:
                    for watch in watches.values():
                        watch.install(patch)
                    await call()
                found[name] = [place for place, watch in watches.items() if watch.reached]
    return found


class Fault:
    """An exception at one place, for calls alone: what the service does by itself goes on.

    Args:
        make: makes the exception; without it the place is watched, and nothing fails.
    """

    def __init__(self, place: tuple[Any, str], make: Callable[[], BaseException] | None = None) -> None:
        self.owner, self.name = place
        self._make = make
        self.reached = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put it where the call goes through."""
        right, others = getattr(self.owner, self.name), asyncio.all_tasks()

        def fails(*arguments: Any, **named: Any) -> Any:
            task = asyncio.current_task()
            if task in others:
                return right(*arguments, **named)
            self.reached += 1
            if self._make is None:
                return right(*arguments, **named)
            raise self._make()

        async def fails_later(*arguments: Any, **named: Any) -> Any:
            answer = fails(*arguments, **named)
            return await answer

        patch.setattr(self.owner, self.name, fails_later if asyncio.iscoroutinefunction(right) else fails)


async def no_trace(rig: Rig, http: httpx2.AsyncClient, log: list[dict[str, Any]]) -> None:
    """Look for the canary in all that is kept or shown."""
    await rig.parts.audit.flush()
    store = rig.parts.store
    seen = str(log)
    for stream in (audit.EXCHANGES, audit.ADMIN):
        seen += str(await store.server.client.xrange(store.prefix + stream))
    for path in ("/metrics", "/readyz"):
        seen += (await http.get(rig.url("ops", path))).text
    assert CANARY not in seen


@pytest.mark.parametrize("kind", KINDS)
async def test_no_exceptions_text_leaves_by_any_way_out(
    rig: Rig,
    kind: str,
    on_its_way: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """Every method and endpoint, with a fault at each place that it goes through; a seventh of them for each kind."""
    reached: dict[str, int] = dict.fromkeys(WAY, 0)
    async with plain_http.client(timeout=DEADLINE) as http:
        calls = Calls(rig, http)
        turns = itertools.count(list(KINDS).index(kind))
        async for name, call in calls.all():
            for place in (place for place in on_its_way[name] if place in WAY):
                every = kind == "RuntimeError" and ("oken" in name or "GET" in name)
                if next(turns) % 7 and not every:
                    continue
                if place == "published keys" and "eySet" not in name and "jwks" not in name:
                    continue  # streams that end just now may still ask for them
                fault = Fault(WAY[place], KINDS[kind])
                with monkeypatch.context() as patch:
                    fault.install(patch)
                    answer = await call()
                assert CANARY not in answer.text, (name, place)
                if fault.reached:
                    reached[place] += 1
                    if (place, kind) in SHARED and answer.code != "INTERNAL":
                        assert "STORE_UNAVAILABLE" in answer.text, (name, answer)
                        continue
                    if "the check failed" in answer.text:  # a look that fails is told by its type
                        assert name in ("GET /readyz", "GET /api/health"), answer
                        continue
                    assert answer.code == "INTERNAL", (name, place, answer)
                    assert answer.message in (INTERNAL_MESSAGE, "Internal Server Error"), (name, place, answer)
                    assert answer.reason in ("INTERNAL", ""), (name, place, answer)
        await no_trace(rig, http, lines())
    assert kind != "RuntimeError" or not [place for place, count in reached.items() if not count]


@pytest.mark.parametrize("kind", ["RuntimeError", "BrokenPipeError", "UnicodeDecodeError", "ExceptionGroup"])
async def test_a_call_that_can_not_be_recorded_is_answered_all_the_same(
    rig: Rig,
    kind: str,
    on_its_way: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    async with plain_http.client(timeout=DEADLINE) as http:
        calls = Calls(rig, http)
        usual = {name: await call() async for name, call in calls.all()}
        for place, where in BESIDE.items():
            reached = 0
            async for name, call in calls.all():
                if name.endswith(ONCE) or place not in on_its_way[name]:
                    continue
                fault = Fault(where, KINDS[kind])
                with monkeypatch.context() as patch:
                    fault.install(patch)
                    answer = await call()
                reached += fault.reached
                assert CANARY not in answer.text, (name, place)
                assert (answer.code, answer.reason) == (usual[name].code, usual[name].reason), (name, place, answer)
            assert reached, place
        await no_trace(rig, http, lines())
