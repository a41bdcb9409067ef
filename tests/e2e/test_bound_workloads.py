"""A workload's token that its platform bound to a key (RFC 7800) proves a client only with that key."""

import grpc
import pytest
from tests.e2e.sharing import Start
from tests.rig import Rig, refusal

from tokenmint.v1 import token_exchange_service_pb2 as pb

POD = "https://pod.example"
EXTRA = f"""
[clients.pod]
workloads = [{{ provider = "idp", subject = "1842" }}]

[audiences."{POD}"]
clients = ["pod"]
providers = ["idp"]
on_missing_profile = "without"
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    return lambda serve: serve(EXTRA, transport=transport)


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


async def ask(rig: Rig, workload: str) -> pb.ExchangeTokenResponse:
    subject_token = rig.issuer.token(rig.clock.now(), sub="somebody")
    request = pb.ExchangeTokenRequest(subject_token=subject_token, audience=POD)
    return await rig.exchange.ExchangeToken(request, metadata=(("tokenmint-workload-token", workload),), timeout=20)


async def test_a_workload_token_that_is_bound_to_nothing_proves_its_client(rig: Rig) -> None:
    assert (await ask(rig, rig.issuer.token(rig.clock.now()))).subject


@pytest.mark.parametrize("cnf", [{"x5t#S256": "A" * 43}, {"jkt": "A" * 43}, {"jwk": {"kty": "EC"}}, {"kid": "x"}, {}])
async def test_rfc_7800_a_bound_workload_token_proves_nobody_without_its_key(rig: Rig, cnf: dict[str, object]) -> None:
    told = await refusal(ask(rig, rig.issuer.token(rig.clock.now(), cnf=cnf)))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")


@pytest.mark.parametrize("act", [{"sub": "agent"}, {"sub": "agent", "iss": "https://x.example"}, {}, "agent"])
async def test_rfc_8693_section_4_1_a_token_that_somebody_else_holds_for_the_workload_proves_nobody(
    rig: Rig, act: object
) -> None:
    """Its subject is the workload, and the party that sends it is the actor."""
    told = await refusal(ask(rig, rig.issuer.token(rig.clock.now(), act=act)))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
