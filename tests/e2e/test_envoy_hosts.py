"""The host of a gateway's check (envoy.service.auth.v3) names one audience, however it is spelled."""

import pytest
from tests.e2e.gateways import ORDERS, behind_a_gateway, check, ours, set_upstream, theirs, told
from tests.e2e.sharing import Start
from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    return behind_a_gateway(transport)


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest.mark.parametrize(
    "host", ["bound.example", "BOUND.example", "bound.example:8443", "192.0.2.7", "[2001:DB8::7]:1"]
)
async def test_a_host_that_is_configured_has_its_audience(rig: Rig, host: str) -> None:
    answer = await check(rig, {"authorization": f"Bearer {theirs(rig)}"}, host=host)
    assert told(answer) == (403, "CONFIRMATION_DENIED")  # tokens of that audience are bound


@pytest.mark.parametrize("host", ["shop.example", "shop.example:8443", "shop.example.", "x.bound.example", "[::1]"])
async def test_a_host_that_is_not_configured_has_the_audience_of_the_rest(rig: Rig, host: str) -> None:
    answer = await check(rig, {"authorization": f"Bearer {theirs(rig)}"}, host=host)
    assert ours(set_upstream(answer))["aud"] == ORDERS


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("bound.example.", "AUDIENCE_DENIED"),
        ("bound.example.:443", "AUDIENCE_DENIED"),
        ("BOUND.EXAMPLE.", "AUDIENCE_DENIED"),
        ("bound.example@shop.example", "INVALID_REQUEST"),
        ("bound.example:443@shop.example", "INVALID_REQUEST"),
        ("shop.example@bound.example", "INVALID_REQUEST"),
        ("bound.example,shop.example", "INVALID_REQUEST"),
        ("shop.example,bound.example", "INVALID_REQUEST"),
        ("bound.example, shop.example", "INVALID_REQUEST"),
        ("bound.example:443,shop.example", "INVALID_REQUEST"),
        ("bound.example shop.example", "INVALID_REQUEST"),
        (" bound.example", "INVALID_REQUEST"),
        ("bound.example:", "AUDIENCE"),
        ("bound.example:x", "INVALID_REQUEST"),
        ("bound.example:0", "INVALID_REQUEST"),
        ("bound.example..", "INVALID_REQUEST"),
        (".bound.example", "INVALID_REQUEST"),
        ("bound.example/", "INVALID_REQUEST"),
        ("bound.example#", "INVALID_REQUEST"),
        ("bound%2eexample", "INVALID_REQUEST"),
        ("bound\u3002example", "INVALID_REQUEST"),
        ("b\u00f6und.example", "INVALID_REQUEST"),
        ("http://bound.example", "INVALID_REQUEST"),
        ("192.0.2.7.", "INVALID_REQUEST"),
        ("192.0.2.007", "INVALID_REQUEST"),
        ("3221225991", "INVALID_REQUEST"),
        ("0xc0.0.2.0x7", "INVALID_REQUEST"),
        ("192.0.519", "INVALID_REQUEST"),
        ("[2001:db8:0:0::7]", "AUDIENCE"),
        ("2001:db8::7", "INVALID_REQUEST"),
        ("[2001:db8::7%25eth0]", "INVALID_REQUEST"),
        ("[2001:db8::7", "INVALID_REQUEST"),
        ("", "INVALID_REQUEST"),
    ],
)
async def test_no_spelling_of_a_host_leads_to_the_audience_of_another(rig: Rig, host: str, reason: str) -> None:
    """`AUDIENCE`: it is the same host, and has its audience."""
    answer = await check(rig, {"authorization": f"Bearer {theirs(rig)}"}, host=host)
    assert told(answer)[1] == ("CONFIRMATION_DENIED" if reason == "AUDIENCE" else reason)
    by_route = await check(rig, {"authorization": f"Bearer {theirs(rig)}"}, host=host, audience=ORDERS)
    assert ours(set_upstream(by_route))["aud"] == ORDERS  # the route's word needs no host
