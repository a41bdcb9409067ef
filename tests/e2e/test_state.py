"""The state of a running service in its metrics: keys, providers, the store, certificates, refusals of clients."""

import contextlib
from pathlib import Path

import grpc
import httpx2
import pytest
from cryptography import x509
from tests.fakes import FakeClock
from tests.rig import AUDIENCE, HTTP_TLS, OPEN_AUDIENCE, Rig, Serve, person, refusal, write_tls
from tests.tls import authority
from tests.unconfirmed import confirm_nothing

from tokenmint.base.errors import OutcomeUnknown
from tokenmint.keys.types import KeyState
from tokenmint.process.state import watch_state
from tokenmint.v1 import token_exchange_service_pb2 as pb

DAY = 86400.0


async def shown(rig: Rig) -> dict[str, float]:
    """Return the samples of `/metrics`, by name and labels."""
    watch_state(rig.parts, rig.app.listeners.certificates())
    async with httpx2.AsyncClient() as http:
        text = (await http.get(rig.url("ops", "/metrics"))).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def exchange(rig: Rig, audience: str = AUDIENCE) -> None:
    request = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now()), audience=audience)
    await rig.exchange.ExchangeToken(request, **rig.auth("web"))


async def test_keys_and_their_next_change_are_shown(rig: Rig, clock: FakeClock) -> None:
    before = await shown(rig)
    assert before['tokenmint_keys{algorithm="ES256",state="active"}'] == 1
    assert before['tokenmint_keys{algorithm="ES256",state="prepared"}'] == 1
    change = before['tokenmint_key_next_change_seconds{algorithm="ES256"}']
    assert DAY < change <= 30 * DAY
    clock.advance(1000)
    await rig.parts.signing_keys.refresh()
    after = await shown(rig)
    assert after['tokenmint_key_next_change_seconds{algorithm="ES256"}'] == pytest.approx(change - 1000, abs=5)
    age = 'tokenmint_key_age_seconds{algorithm="ES256",state="active"}'
    assert after[age] == pytest.approx(before[age] + 1000, abs=5)
    assert {key.state for key in rig.parts.signing_keys.ring.keys} == {KeyState.ACTIVE, KeyState.PREPARED}


async def test_the_age_of_providers_keys_and_the_failure_to_fetch_them_are_shown(rig: Rig, clock: FakeClock) -> None:
    of_idp = {name: f'tokenmint_provider_keys_{name}{{provider="idp"}}' for name in ("failing", "trusted_seconds")}
    age = 'tokenmint_provider_keys_age_seconds{provider="idp"}'
    before = await shown(rig)
    assert before[of_idp["failing"]] == 0
    assert before[of_idp["trusted_seconds"]] == pytest.approx(DAY, abs=30)
    rig.issuer.status = 500
    clock.advance(600)
    key_sets = rig.parts.exchange.verifier.key_sets
    with contextlib.suppress(Exception):
        await key_sets.refresh("idp")
    after = await shown(rig)
    assert after[of_idp["failing"]] == 1
    assert after[age] == pytest.approx(before[age] + 600, abs=5)
    assert after[of_idp["trusted_seconds"]] == pytest.approx(DAY - after[age], abs=1)


async def test_operations_of_the_store_are_timed_and_their_failures_counted(rig: Rig) -> None:
    before = await shown(rig)
    assert before["tokenmint_store_confirms_writes"] == 1
    assert before['tokenmint_store_errors_total{reason="OUTCOME_UNKNOWN"}'] == 0
    await rig.create(person())  # a change
    await exchange(rig)
    after = await shown(rig)
    for operation in ("read", "write"):
        for part in ("count", "sum"):
            name = f'tokenmint_store_seconds_{part}{{operation="{operation}"}}'
            assert after[name] > before[name]
    store = rig.parts.store
    confirm_nothing(store)
    with pytest.raises(OutcomeUnknown):
        await store.count("a-number", 1)
    failed = await shown(rig)
    assert failed['tokenmint_store_errors_total{reason="OUTCOME_UNKNOWN"}'] == 1


async def test_a_clients_refusals_are_counted_by_their_reason(rig: Rig) -> None:
    assert (await refusal(exchange(rig, "https://elsewhere.example"))).code is grpc.StatusCode.PERMISSION_DENIED
    assert (await refusal(exchange(rig))).reason == "PRINCIPAL_UNKNOWN"
    found = await shown(rig)
    assert found['tokenmint_client_refusals_total{client="web",reason="AUDIENCE_DENIED"}'] == 1
    assert found['tokenmint_client_refusals_total{client="web",reason="PRINCIPAL_UNKNOWN"}'] == 1


async def test_the_end_of_certificates_is_shown(serve: Serve, tmp_path: Path, clock: FakeClock) -> None:
    write_tls(tmp_path, authority())
    async with serve(listen=HTTP_TLS) as rig:
        found = await shown(rig)
        end = x509.load_pem_x509_certificate((tmp_path / "tls.crt").read_bytes()).not_valid_after_utc.timestamp()
        assert found['tokenmint_certificate_expiry_seconds{use="http"}'] == pytest.approx(end - clock.now(), abs=5)
        assert 'tokenmint_certificate_expiry_seconds{use="grpc"}' not in found


async def test_reads_from_the_near_cache_are_counted(serve: Serve) -> None:
    async with serve("[caches]\nprofiles = 100\n") as rig:
        await exchange(rig, OPEN_AUDIENCE)
        found = await shown(rig)
        assert found['tokenmint_near_cache_total{outcome="miss"}'] > 0
        assert found["tokenmint_calls_in_flight_limit"] == rig.parts.base.capacity.limit
