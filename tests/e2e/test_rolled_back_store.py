"""The store is put back to an old copy of its files: while the service runs, and while nothing does."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis
from tests import plain_http
from tests.chaos.engine import Server
from tests.chaos.stores import LOG
from tests.forked import ForkedService, run_forked
from tests.polling import PAUSE
from tests.process import Service, configure, write_kek

from tokenmint.keys.store import parse
from tokenmint.keys.types import KeyRing, KeyState
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub

pytestmark = pytest.mark.processes

PATIENCE = 60.0  # seconds


class Copied:
    """A store whose files can be copied, and put back."""

    def __init__(self, directory: Path) -> None:
        self.server = Server(directory, *LOG)
        self.copy = directory / "copy"
        self.client = redis.Redis(port=self.server.port, socket_timeout=5)
        self.server.start()
        self._await_answer()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}"

    def save(self) -> None:
        """Copy the files while the server does not run."""
        self.server.kill()
        shutil.copytree(self.server.directory, self.copy)
        self.server.start()
        self._await_answer()

    def roll_back(self) -> None:
        """Put the copy back."""
        self.server.kill()
        shutil.rmtree(self.server.directory)
        shutil.copytree(self.copy, self.server.directory)
        self.server.start()
        self._await_answer()

    def ring(self) -> KeyRing:
        return parse(self.client.get("tm:ring"))  # type: ignore[arg-type]  # the driver's type is for both of its clients

    def _await_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.client.ping()
            except redis.RedisError:
                assert time.monotonic() < deadline
                time.sleep(PAUSE)
            else:
                return


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Copied]:
    (tmp_path / "store").mkdir()
    made = Copied(tmp_path / "store")
    yield made
    made.client.close()
    made.server.kill()


def revoke(service: Service, key_id: str) -> None:
    """Revoke, trying again while the store is being found again."""
    with grpc.insecure_channel(service.listen["admin"]) as channel:
        stub = KeyAdminServiceStub(channel)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                request = pb.RevokeSigningKeyRequest(key_id=key_id, reason="leaked")
                stub.RevokeSigningKey(request, **service.auth("root"))
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(PAUSE)
            else:
                return


def readiness(service: Service, *, ready: bool) -> dict[str, str]:
    """Wait until it is ready, or is not because of the store; return what keeps it from serving."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = plain_http.get(f"http://{service.listen['ops']}/readyz").json()
        if answer["ready"] if ready else "store" in answer["problems"]:
            problems: dict[str, str] = answer["problems"]
            return problems
        assert time.monotonic() < deadline, answer
        time.sleep(PAUSE)


def state(ring: KeyRing, key_id: str) -> KeyState:
    key = ring.find(key_id)
    assert key is not None
    return key.state


def test_replicas_put_back_what_a_store_lost_of_the_ring_and_serve_nothing_until_it_is_accepted(
    tmp_path: Path, store: Copied
) -> None:
    configure(tmp_path)
    settings = {"TOKENMINT_REDIS__URL": store.url, "TOKENMINT_KEYS__ENCRYPTION_KEY_FILE": str(write_kek(tmp_path))}
    with ForkedService(tmp_path, **settings) as service:
        active = store.ring().only("ES256", KeyState.ACTIVE)
        assert active is not None
        store.save()
        revoke(service, active.key_id)
        newest = store.ring()
        assert state(newest, active.key_id) is KeyState.REVOKED
        store.roll_back()
        assert state(store.ring(), active.key_id) in (KeyState.ACTIVE, KeyState.REVOKED)
        deadline = time.monotonic() + PATIENCE
        while state(store.ring(), active.key_id) is not KeyState.REVOKED:
            assert time.monotonic() < deadline, "the newer ring is merged back"
            time.sleep(PAUSE)
        assert store.ring().generation > newest.generation
        assert {key.key_id for key in store.ring().keys} >= {key.key_id for key in newest.keys}
        published = plain_http.get(f"http://{service.listen['http']}/.well-known/jwks.json").json()["keys"]
        assert active.key_id not in {key["kid"] for key in published}
        assert "accept-store" in readiness(service, ready=False)["store"]
        told = run_forked("keys", "accept-store", directory=tmp_path, **settings)
        assert (told.returncode, "replicas noticed that it lost changes" in told.stdout) == (1, True), told
        done = run_forked("keys", "accept-store", "--yes", directory=tmp_path, **settings)
        assert done.returncode == 0, done.stderr
        assert readiness(service, ready=True) == {}
        last = store.ring().generation
        events = [event for _, fields in store.client.xrange("tm:audit:admin") for event in fields.values()]  # type: ignore[union-attr]  # as above
        assert any(b'"keys accept-store"' in event for event in events)
    store.roll_back()
    assert state(store.ring(), active.key_id) is KeyState.ACTIVE
    with ForkedService(tmp_path, **settings) as service:  # nobody ran who could put it back
        assert "the store lost changes" in readiness(service, ready=False)["store"]
        assert state(store.ring(), active.key_id) is KeyState.REVOKED, "what the mark knows is put back at once"
        assert store.ring().generation > last
        said = service.errors.read_text()
        assert f"but {last} was served here before" in said
        assert f"these keys were revoked, and it lacks that: {active.key_id}" in said
        done = run_forked("keys", "accept-store", "--yes", directory=tmp_path, **settings)
        assert done.returncode == 0, done.stderr
        assert readiness(service, ready=True) == {}
    store.client.flushall()
    with pytest.raises(AssertionError, match="did not start") as refused:
        ForkedService(tmp_path, **settings).stop()
    said = str(refused.value).rpartition("tokenmint: ")[2]
    assert "it holds no key ring" in said
    assert "`tokenmint keys accept-store`" in said
    assert store.client.get("tm:ring") is None, "a refused start changes nothing"
