"""Mutations of the fast way at gateways, each with the scenario that finds it (``test_mutations.py``)."""

import pytest
from tests.both_ways import BothWays
from tests.gateway_ways import GatewayWays
from tests.unit.fast import gateways, scenarios
from tests.unit.fast.mutation import Mutation, find_all

from tokenmint.fast import exchange, plans
from tokenmint.fast.exchange import FastExchange
from tokenmint.fast.plans import Plans
from tokenmint.rpc import fast_check, fast_exchange
from tokenmint.rpc.fast_check import FastCheck
from tokenmint.rpc.fast_exchange import Method

pytestmark = pytest.mark.slow

ANSWER = (fast_exchange, Method, "answer")
CUT = (fast_check, FastCheck, "cut")
READ = (fast_check, FastCheck, "read")
MESSAGE = (fast_check, FastCheck, "message")
METADATA = (fast_check, fast_check._Answer, "metadata")
KEEP = (exchange, FastExchange, "keep")

MUTATIONS = [
    # the request
    Mutation(
        *CUT,
        "extensions.get(AUDIENCE) or audience_of(gateway, http.host)",
        "audience_of(gateway, http.host)",
        gateways.settings_of_routes,
    ),
    Mutation(
        *CUT,
        "extensions.get(AUDIENCE) or audience_of(gateway, http.host)",
        "extensions.get(AUDIENCE) or gateway.audience",
        gateways.audiences_of_hosts,
    ),
    Mutation(
        *CUT,
        "extensions.get(AUDIENCE) or audience_of(gateway, http.host)",
        "extensions.get(AUDIENCE) or gateway.hosts.get(http.host, gateway.audience)",
        gateways.audiences_of_hosts,
    ),
    Mutation(*CUT, "extensions.get(TOKEN_TYPE) or ", "", gateways.settings_of_routes),
    Mutation(
        *CUT,
        "token_type_of(found.token)",
        "'urn:ietf:params:oauth:token-type:id_token'",
        gateways.kinds_of_tokens,
    ),
    Mutation(*CUT, 'extensions.get(SCOPE, "")', '""', gateways.settings_of_routes),
    Mutation(*CUT, "_parent(http.headers)", "None", gateways.traces_in_headers),
    Mutation(*CUT, "found.cookies", "None", gateways.tokens_in_every_place),
    Mutation(*CUT, "found.cookies", 'http.headers.get("cookie")', gateways.tokens_in_every_place),
    Mutation(*CUT, "found.token.encode()", "found.token.encode().strip(b'\\0')", gateways.requests_without_a_token),
    Mutation(*READ, "route_of(settings)", "route_of(settings | {SCOPE: ''})", gateways.settings_of_routes),
    Mutation(
        plans, Plans, "of", "key = client.client_id, rest", "key = client.client_id, b''", gateways.settings_of_routes
    ),
    # the caller's trace
    Mutation(*ANSWER, "context_in(metadata) or request.parent", "context_in(metadata)", gateways.traces_in_headers),
    Mutation(
        *ANSWER,
        "context_in(metadata) or request.parent",
        "request.parent or context_in(metadata)",
        gateways.traces_in_headers,
    ),
    # a call that waits
    Mutation(
        *ANSWER,
        "Pending(fast, minted, started, parent, request.own)",
        "Pending(fast, minted, started, parent, None)",
        gateways.answers_that_took_long,
    ),
    Mutation(fast_exchange, Method, "finish", "pending.own", "None", gateways.answers_that_took_long),
    # the answer
    Mutation(*MESSAGE, " + self._removed", "", gateways.tokens_in_every_place),
    Mutation(*MESSAGE, "if own:", "if own is not None:", gateways.tokens_in_every_place),
    Mutation(*MESSAGE, "elif own is not None:", "elif False:", gateways.tokens_in_every_place),
    Mutation(*METADATA, "self.keep != keep or ", "", gateways.answers_that_are_kept),
    Mutation(*METADATA, " or self.expires_at != minted.expires_at", "", scenarios.times_that_pass),
    Mutation(*METADATA, " + self.scope", "", gateways.settings_of_routes),
    Mutation(*KEEP, "bound=minted.target.audience.gateway_cache", "bound=1", gateways.answers_that_are_kept),
    Mutation(*KEEP, "ends if isinstance(ends, int | float) else 0", "2**40", gateways.answers_that_are_kept),
    Mutation(*KEEP, "(minted.expires_at, ", "(2**40, ", gateways.answers_that_are_kept),
    Mutation(*KEEP, "began=proved.now", "began=self._service.clock.now()", gateways.answers_that_took_long),
    Mutation(*KEEP, "now=self._service.clock.now()", "now=proved.now", gateways.answers_that_took_long),
]


async def test_every_mutation_at_gateways_is_found(ways: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    await find_all(MUTATIONS, GatewayWays(ways.rig), monkeypatch)
