"""Running it: starts, stops, kills, and faults of the operator, with processes, ports and directories of its own."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import threading
import time
from functools import partial
from importlib import metadata
from pathlib import Path

import grpc
import pytest
from tests import plain_http
from tests.e2e.processes import AUDIENCE, exchange, jwks, processes_of, verify
from tests.forked import ForkedService, run_forked
from tests.issuer import Issuer, ec_key
from tests.polling import PATIENCE, wait_until
from tests.process import OPERATOR, Service, WithFewFiles, configure, write_kek
from tests.sockets import place

from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.processes


def test_what_was_answered_survives_kill_9(tmp_path: Path, issuer: Issuer) -> None:
    configure(tmp_path, issuer.url)
    with Service(tmp_path) as service:
        before = exchange(service, issuer)
        keys = jwks(service)
        store = service.process.pid
        assert processes_of(tmp_path)
        service.kill()
        wait_until(lambda: not processes_of(tmp_path))  # no orphan
        assert store
    with ForkedService(tmp_path) as service:
        assert jwks(service) == keys
        assert exchange(service, issuer).subject == before.subject  # the profile that was created is there
        assert verify(service, before.token)["sub"] == before.subject
        with grpc.insecure_channel(service.listen["admin"]) as channel:
            found = ProfileAdminServiceStub(channel).ListProfiles(
                profiles_pb.ListProfilesRequest(), **service.auth("root")
            )
        assert [profile.principal for profile in found.profiles] == [before.subject]
        assert service.stop() == 0
    assert not processes_of(tmp_path)


def test_rotation_during_a_loop_of_exchanges_fails_none(tmp_path: Path, issuer: Issuer) -> None:
    config = configure(tmp_path, issuer.url)
    secret = tmp_path / "operator"
    secret.write_text(OPERATOR.reveal())
    with ForkedService(tmp_path, "--config", str(config)) as service:
        old = exchange(service, issuer)
        tokens: list[str] = []
        failures: list[BaseException] = []
        stop = threading.Event()

        def loop() -> None:
            while not stop.is_set():
                try:
                    tokens.append(exchange(service, issuer).token)
                except grpc.RpcError as error:
                    failures.append(error)

        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads:
            thread.start()
        operator = {
            "TOKENMINT_TARGET": service.listen["admin"],
            "TOKENMINT_CLIENT_ID": "root",
            "TOKENMINT_SECRET_FILE": str(secret),
        }
        rotated = [
            run_forked("keys", "rotate", "--force", "-o", "json", directory=tmp_path, **operator) for _ in range(3)
        ]
        wait_until(lambda: len(tokens) > 20)
        stop.set()
        for thread in threads:
            thread.join(timeout=30)
        assert not failures
        assert [outcome.returncode for outcome in rotated] == [0, 0, 0]
        assert "verifiers may not know the key that signs now" in rotated[0].stderr
        last = json.loads(rotated[-1].stdout)
        published = {key["kid"] for key in jwks(service)}
        assert {last["active_key"]["key_id"], last["prepared_key"]["key_id"], old.key_id} <= published
        assert len(published) == 5  # next, current, and three that retire
        for token in [old.token, *tokens]:
            verify(service, token)


def test_sigterm_answers_what_was_asked_and_then_ends(tmp_path: Path, issuer: Issuer) -> None:
    configure(tmp_path, issuer.url)
    with ForkedService(tmp_path) as service, grpc.insecure_channel(service.listen["grpc"]) as channel:
        assert exchange(service, issuer).token
        issuer.gate = threading.Event()  # the provider takes its time to answer for a kid that is new
        other = Issuer(url=issuer.url, key=ec_key(), key_id="new", algorithm="ES256")
        issuer.documents["/jwks.json"] = other.jwks()
        asked = len(issuer.requests)
        request = pb.ExchangeTokenRequest(subject_token=other.token(time.time()), audience=AUDIENCE)
        call = TokenExchangeServiceStub(channel).ExchangeToken.future(request, **service.auth())
        wait_until(lambda: len(issuer.requests) > asked)
        service.process.terminate()
        wait_until(lambda: _begins_nothing(service, issuer))
        issuer.gate.set()
        assert call.result(timeout=20).token
        assert service.stop() == 0


def _begins_nothing(service: Service, issuer: Issuer) -> bool:
    try:
        exchange(service, issuer)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_disk_that_hangs_under_the_high_water_mark_holds_up_neither_a_start_nor_a_stop(
    tmp_path: Path, issuer: Issuer
) -> None:
    configure(tmp_path, issuer.url)
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "high-water-mark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ForkedService(tmp_path) as service:
            assert exchange(service, issuer).token
            told = plain_http.get(f"http://{service.listen['ops']}/readyz").json()
            assert (told["ready"], "TimeoutError" in told["details"]["high-water mark"]) == (True, True)
            assert service.stop() == 0


def test_strangers_that_hold_every_connection_of_grpc_take_no_file_from_health_and_the_key_set(
    tmp_path: Path, issuer: Issuer, transport: str
) -> None:
    configure(tmp_path, issuer.url)
    few = WithFewFiles(tmp_path, TOKENMINT_LISTEN__TRANSPORT=transport)
    with few as service, contextlib.ExitStack() as held:
        for listener in ("grpc", "admin"):
            for _ in range(200):
                stranger = held.enter_context(socket.create_connection(place(service.listen[listener]), timeout=20))
                with contextlib.suppress(OSError):  # it is hung up
                    stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        # A busy machine takes its time to close 400 connections; then there are files again.
        assert plain_http.get(f"http://{service.listen['ops']}/healthz", timeout=6 * PATIENCE).status_code == 200
        assert plain_http.get(f"http://{service.listen['ops']}/readyz").json()["ready"]
        assert jwks(service)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_private_store_that_ends_is_started_again_and_the_service_goes_on(
    tmp_path: Path, issuer: Issuer, workers: str
) -> None:
    """As it ends when its disk is full."""
    configure(tmp_path, issuer.url)
    with ForkedService(tmp_path, "--workers", workers) as service:
        principal = verify(service, exchange(service, issuer).token)["sub"]
        for number in range(1, 4):
            (pid,) = processes_of(tmp_path)
            os.kill(pid, signal.SIGKILL)
            assert jwks(service)
            wait_until(partial(replaced, tmp_path, pid))
            wait_until(partial(exchanged, service, issuer))
            wait_until(lambda: service.errors.read_text().count("the private store runs again") == number)  # noqa: B023  # awaited here
        assert verify(service, exchange(service, issuer).token)["sub"] == principal
        assert service.process.poll() is None
        assert service.stop() == 0
    said = service.errors.read_text()
    assert said.count("ended, and is started again: see") == said.count("the private store runs again") == 3
    assert not processes_of(tmp_path)


def replaced(directory: Path, gone: int) -> bool:
    found = processes_of(directory)
    return len(found) == 1 and gone not in found


def exchanged(service: Service, issuer: Issuer) -> bool:
    try:
        return bool(exchange(service, issuer).token)
    except grpc.RpcError:
        return False


def test_sighup_reloads_and_a_bad_file_changes_nothing(tmp_path: Path, issuer: Issuer) -> None:
    config = configure(tmp_path, issuer.url)
    text = config.read_text()
    with ForkedService(tmp_path, "--config", str(config)) as service:
        assert exchange(service, issuer).token
        config.write_text("broken")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration not reloaded" in service.errors.read_text())
        assert exchange(service, issuer).token
        for url in ("https://x.example:99999/", "https://[::1", "https://a..b/"):
            told = service.errors.read_text().count("configuration not reloaded")
            config.write_text(
                text + f'\n[providers.bad]\nissuer = "https://b.example"\naudiences = ["a"]\njwks_url = "{url}"\n'
            )
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: service.errors.read_text().count("configuration not reloaded") > told)  # noqa: B023  # called here
        assert "providers.bad.jwks_url: its port" in service.errors.read_text()
        assert exchange(service, issuer).token
        config.write_text(
            text.replace('clients = ["web"]', 'clients = ["other"]').replace("[clients.web]", "[clients.other]")
        )
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in service.errors.read_text())
        lines = service.errors.read_text().splitlines()
        [reloaded] = [json.loads(line) for line in lines if "configuration reloaded" in line]
        assert (reloaded["version"], reloaded["listen"]) == (metadata.version("tokenmint"), service.listen)
        assert "clients.other" in str(reloaded["taken_over"])
        with pytest.raises(grpc.RpcError) as refused:
            exchange(service, issuer)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_without_any_configuration_it_serves_on_loopback_and_makes_an_operator(tmp_path: Path) -> None:
    ports = {f"TOKENMINT_LISTEN__{name}": "127.0.0.1:0" for name in ("GRPC", "ADMIN", "HTTP", "OPS")}
    with Service(tmp_path, **ports) as service:
        assert all(address.startswith("127.0.0.1:") for address in service.listen.values())
        assert len(jwks(service)) == 2
        listed = run_forked("keys", "list", directory=tmp_path, TOKENMINT_TARGET=service.listen["admin"])
        assert listed.returncode == 0, listed.stderr
        assert "active" in listed.stdout
        assert "prepared" in listed.stdout
        second = run_forked("serve", directory=tmp_path, **ports)
        assert second.returncode == 2
        assert "in use" in second.stderr
    assert (tmp_path / ".tokenmint" / "operator.json").stat().st_mode & 0o077 == 0


def test_the_development_mode_marks_its_directory(tmp_path: Path, issuer: Issuer) -> None:
    configure(tmp_path, issuer.url, extra="").write_text(
        configure(tmp_path, issuer.url).read_text().replace('issuer = "http://127.0.0.1:9"\n', "")
    )
    with ForkedService(tmp_path, "--dev", "--data-dir", "dev-data") as service:
        with grpc.insecure_channel(service.listen["grpc"]) as channel:
            request = pb.ExchangeTokenRequest(subject_token=issuer.token(time.time()), audience=AUDIENCE)
            assert TokenExchangeServiceStub(channel).ExchangeToken(request, timeout=20).token
        with grpc.insecure_channel(service.listen["admin"]) as channel, pytest.raises(grpc.RpcError) as refused:
            KeyAdminServiceStub(channel).ListSigningKeys(keys_pb.ListSigningKeysRequest(), timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    normal = run_forked("serve", "--data-dir", "dev-data", directory=tmp_path)
    assert normal.returncode == 2
    assert "was used with --dev" in normal.stderr
    with ForkedService(tmp_path) as service:
        assert service.listen
    other_way = run_forked("serve", "--dev", "--data-dir", "data", directory=tmp_path)
    assert other_way.returncode == 2
    assert "holds the data of a normal service" in other_way.stderr


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("x = [", 2, "is not TOML"),
        ("colour = 1", 2, "colour: there is no such key"),
        ('[listen]\ngrpc = "192.0.2.1:1"\nplaintext = true', 2, "listen.grpc: can't listen on 192.0.2.1:1"),
        ('[redis]\nurl = "redis://127.0.0.1:1"\n[keys]\nencryption_key_file = "kek"', 3, "the store can't be reached"),
        ('[redis]\nurl = "http://h"\n[keys]\nencryption_key_file = "kek"', 2, "not a store URL"),
        ('[listen]\ncert_file = "none"\nkey_file = "none"', 2, "none can't be read"),
    ],
)
def test_faults_of_configuration_are_one_clear_line(tmp_path: Path, text: str, status: int, expected: str) -> None:
    write_kek(tmp_path)
    listen = "" if "[listen]" in text else '[listen]\ngrpc = "127.0.0.1:0"\n'
    names = ("ADMIN", "HTTP", "OPS") if "[listen]" in text else ("GRPC", "ADMIN", "HTTP", "OPS")
    if "cert_file" in text:
        names = ("GRPC", "ADMIN", "HTTP", "OPS")
    (tmp_path / "tokenmint.toml").write_text(text + "\n" + ("" if "[listen]" in text else listen))
    if text.startswith("x ="):
        (tmp_path / "tokenmint.toml").write_text(text)
    outcome = run_forked("serve", directory=tmp_path, **{f"TOKENMINT_LISTEN__{name}": "127.0.0.1:0" for name in names})
    assert outcome.returncode == status, outcome.stderr
    assert expected in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not processes_of(tmp_path)


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    configure(tmp_path)
    with ForkedService(tmp_path) as service:
        other = tmp_path / "other"
        other.mkdir()
        outcome = run_forked("serve", directory=other, TOKENMINT_LISTEN__GRPC=service.listen["grpc"],
                      TOKENMINT_LISTEN__ADMIN="127.0.0.1:0", TOKENMINT_LISTEN__HTTP=service.listen["http"],
                      TOKENMINT_LISTEN__OPS="127.0.0.1:0")  # fmt: skip
        assert outcome.returncode == 2
        assert outcome.stderr.count("stop the process that listens there or choose another") == 2


def test_a_store_of_yours_that_evicts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    server = EmbeddedServer(tmp_path / "redis")
    url = server.start()
    try:
        import redis

        client = redis.Redis.from_url(url)
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.close()
        write_kek(tmp_path)
        configure(tmp_path, extra=f'[redis]\nurl = "{url}"\n[keys]\nencryption_key_file = "kek"\n')
        outcome = run_forked("serve", directory=tmp_path)
        assert outcome.returncode == 2
        assert "set it to noeviction" in outcome.stderr
    finally:
        server.stop()


def test_with_a_store_of_yours_two_services_share_the_keys(tmp_path: Path, issuer: Issuer) -> None:
    (tmp_path / "redis").mkdir()
    server = EmbeddedServer(tmp_path / "redis")
    url = server.start()
    try:
        write_kek(tmp_path)
        configure(tmp_path, issuer.url, extra=f'[redis]\nurl = "{url}"\n[keys]\nencryption_key_file = "kek"\n')
        with ForkedService(tmp_path) as one, ForkedService(tmp_path) as two:
            assert jwks(one) == jwks(two)
            assert verify(two, exchange(one, issuer).token)
        (tmp_path / "kek").unlink()
        write_kek(tmp_path)
        outcome = run_forked("serve", directory=tmp_path)
        assert outcome.returncode == 2
        assert "sealed under another key-encryption key" in outcome.stderr
    finally:
        server.stop()


def test_the_demo_ends_with_ok(tmp_path: Path) -> None:
    outcome = run_forked("demo", "--no-color", directory=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines()[-1].startswith("OK")
    assert "/.well-known/jwks.json" in outcome.stdout
    assert '"tenant": "analytical-engines"' in outcome.stdout


def test_init_writes_a_configuration_that_serve_runs_on(tmp_path: Path) -> None:
    made = run_forked("init", directory=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("secret, shown once: tms_") == 2
    config = tmp_path / "tokenmint.toml"
    assert config.stat().st_mode & 0o077 == 0
    assert "tms_" not in config.read_text()
    unfilled = run_forked("config", "check", directory=tmp_path)
    assert unfilled.returncode == 2
    line = next(place for place, text in enumerate(config.read_text().splitlines(), 1) if "CHANGE-ME" in text)
    assert f"providers.google.audiences: still has CHANGE-ME: put your own value there (line {line})" in unfilled.stderr
    config.write_text(config.read_text().replace("CHANGE-ME", "1234"))
    checked = run_forked("config", "check", directory=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "https://api.example.com" in checked.stdout
    again = run_forked("init", directory=tmp_path)
    assert again.returncode == 2
    assert "not overwritten" in again.stderr
    ports = {f"TOKENMINT_LISTEN__{name}": "127.0.0.1:0" for name in ("GRPC", "ADMIN", "HTTP", "OPS")}
    secret = made.stdout.partition("operator admin")[2].partition("tms_")[2].split()[0]
    (tmp_path / "operator").write_text(f"tms_{secret}")
    with ForkedService(tmp_path, **ports) as service:
        operator = {
            "TOKENMINT_TARGET": service.listen["admin"],
            "TOKENMINT_CLIENT_ID": "admin",
            "TOKENMINT_SECRET_FILE": "operator",
        }
        listed = run_forked("providers", "list", directory=tmp_path, **operator)
        assert listed.returncode == 0, listed.stderr
        assert "google" in listed.stdout
