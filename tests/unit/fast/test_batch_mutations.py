"""Mutations of the fast way that matter for batches, each with the scenario that finds it (``test_mutations.py``)."""

import pytest
from tests.both_ways import BothWays
from tests.unit.fast import batches, computed, scenarios, signing
from tests.unit.fast.batches import in_batches
from tests.unit.fast.mutation import Mutation, find_all

from tokenmint.base import telemetry
from tokenmint.base.telemetry import Metrics
from tokenmint.fast import exchange, minting, people, plans, tokens
from tokenmint.fast.exchange import FastExchange
from tokenmint.fast.people import People
from tokenmint.fast.plans import Plans
from tokenmint.fast.tokens import Tokens
from tokenmint.process import fast_way
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.rpc import fast_exchange
from tokenmint.rpc.fast_exchange import FastBatchExchangeTokens

pytestmark = pytest.mark.slow

MADE = (plans, Plans, "_made")
DECIDE = (plans, Plans, "_decide")
EXCHANGE = (exchange, FastExchange, "exchange")
FETCH = (exchange, FastExchange, "_fetch")
SIGN = (exchange, FastExchange, "_sign")
FINISH = (exchange, FastExchange, "finish")
GO_ON = (exchange, FastExchange, "_go_on")
MINT = (exchange, FastExchange, "_mint")
SIGNED = (exchange, FastExchange, "_signed")
UNSIGNED = (minting, minting, "unsigned_of")
VARYING = (minting, minting, "varying_of")
EVENT = (minting, minting, "event_of")
FIND = (people, People, "find")
PERSON = (people, people, "_person")
RULES = (tokens, Tokens, "rules")
IN_FORCE = (fast_way, FastWayInForce, "__call__")
MESSAGE = (fast_exchange, FastBatchExchangeTokens, "message")
READ = (fast_exchange, FastBatchExchangeTokens, "read")
COUNTED = (telemetry, Metrics, "minted_calls")

MUTATIONS = [
    Mutation(*MADE, "cost=len(decided),", "cost=1,", in_batches(scenarios.plain_exchanges)),
    Mutation(
        *MADE,
        "one = self._decide(client, request)",
        "one = self._decide(client, requests[0])",
        batches.batches_of_several_kinds,
    ),
    Mutation(
        *MADE,
        "if one is None:\n            return None",
        "if one is None:\n            continue",
        batches.batches_with_a_refused_target,
    ),
    Mutation(
        *MADE,
        "frozenset.intersection(*(one.audience.providers for one in decided))",
        "decided[0].audience.providers",
        batches.batches_with_targets_of_another_provider,
    ),
    Mutation(*MADE, "frozenset.intersection(", "frozenset.union(", batches.batches_with_targets_of_another_provider),
    Mutation(*MADE, "signer=algorithms.index(one.grant.algorithm)", "signer=0", batches.batches_of_several_kinds),
    Mutation(
        *MADE, "of_profile=templates.index(one.claims.of_profile)", "of_profile=0", batches.batches_of_several_kinds
    ),
    Mutation(
        *MADE, "audiences if self._batch else audiences[0]", "audiences[0]", in_batches(scenarios.plain_exchanges)
    ),
    Mutation(*MADE, 'b\'],"refused":[]\' if self._batch else b"]"', "b']'", in_batches(scenarios.plain_exchanges)),
    Mutation(
        *MADE,
        "audiences=tuple(one.grant.audience for one in decided)",
        "audiences=(decided[0].grant.audience,)",
        in_batches(scenarios.plain_exchanges),
    ),
    Mutation(
        *MADE, "request=one.request", "request=requests[0]", in_batches(computed.plans_with_cel_of_other_requests)
    ),
    Mutation(
        *MADE, "audience=one.audience", "audience=decided[0].audience", in_batches(computed.providers_rules_by_cel)
    ),
    Mutation(*DECIDE, " or audience.single_use", "", batches.batches_with_a_single_use_target),
    Mutation(
        *EXCHANGE,
        "at_hand(plan.buckets, instant, plan.cost)",
        "at_hand(plan.buckets, instant)",
        in_batches(scenarios.calls_beyond_the_limits),
    ),
    Mutation(
        *GO_ON,
        "at_hand(plan.buckets, instant, plan.cost)",
        "at_hand(plan.buckets, instant)",
        in_batches(scenarios.calls_that_wait),
    ),
    Mutation(
        *FETCH,
        "pay(unfinished.plan.buckets, unfinished.plan.cost)",
        "pay(unfinished.plan.buckets)",
        in_batches(scenarios.calls_beyond_the_limits),
    ),
    Mutation(
        *FINISH, "refund(paid, unfinished.plan.cost)", "refund(paid)", in_batches(scenarios.calls_beyond_the_limits)
    ),
    Mutation(*FINISH, "refund(paid, unfinished.plan.cost)", "refund(paid)", in_batches(scenarios.calls_that_wait)),
    Mutation(
        *SIGNED,
        "spend(ready.lots, ready.instant, plan.cost)",
        "spend(ready.lots, ready.instant)",
        in_batches(scenarios.plain_exchanges),
    ),
    Mutation(
        *MINT,
        "if unsigned is None:\n            self._pass_on(proved)\n            return None",
        "if unsigned is None:\n            continue",
        batches.batches_with_a_refused_target,
    ),
    Mutation(
        *SIGNED,
        "if token is None:\n            self._pass_on(proved)\n            return None",
        "if token is None:\n            continue",
        batches.batches_with_a_refused_target,
    ),
    Mutation(*MINT, "proved.issued_at <= person.valid_after", "False", in_batches(scenarios.profiles_that_change)),
    Mutation(*MINT, "ready.signers[target.signer]", "ready.signers[0]", batches.batches_of_several_kinds),
    Mutation(*SIGN, "iter(await", "reversed(await", batches.batches_of_several_kinds),
    Mutation(*MINT, "place += TOKEN_ID_BYTES", "pass", in_batches(scenarios.plain_exchanges)),
    Mutation(*UNSIGNED, "if target.second != second:", "if target.second < 0:", in_batches(scenarios.times_that_pass)),
    Mutation(
        *UNSIGNED, "if target.key_id != signer.key_id:", "if not target.key_id:", in_batches(signing.our_keys_change)
    ),
    Mutation(*VARYING, "person.claims[target.of_profile]", "person.claims[0]", batches.batches_of_several_kinds),
    Mutation(*MINT, "if target.varying not in varying:", "if not varying:", batches.batches_of_several_kinds),
    Mutation(*MADE, "varying.index(one.claims[1:])", "0", batches.batches_of_several_kinds),
    Mutation(*MESSAGE, "if lengths != known:", "if not before:", batches.batches_of_several_kinds),
    Mutation(*EVENT, "for one in minted", "for one in minted[:1]", in_batches(scenarios.plain_exchanges)),
    Mutation(*EVENT, "for one in minted", "for one in minted[::-1]", in_batches(scenarios.plain_exchanges)),
    Mutation(
        *FIND,
        "person.templates == templates",
        "person.templates[:1] == templates[:1]",
        batches.batches_of_several_kinds,
    ),
    Mutation(*PERSON, "record.disabled or ", "", in_batches(scenarios.profiles_that_change)),
    Mutation(*MESSAGE, "for one in minted:", "for one in minted[::-1]:", batches.batches_of_several_kinds),
    Mutation(
        *READ,
        "convert.batch_requests(message)",
        "convert.batch_requests(message)[:1]",
        in_batches(scenarios.plain_exchanges),
    ),
    Mutation(
        *COUNTED, "for audience in audiences:", "for audience in audiences[:1]:", in_batches(scenarios.plain_exchanges)
    ),
    Mutation(
        *RULES,
        " or rules.keys is not self._trusted(rules.provider.name)",
        "",
        in_batches(scenarios.the_providers_keys_change),
    ),
    Mutation(
        *IN_FORCE,
        "if self._exchange is not self._rules.exchange or self._authenticator is not self._rules.authenticator:",
        "if False:",
        in_batches(scenarios.configurations_that_change),
    ),
]


async def test_every_mutation_of_batches_is_found(ways: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    await find_all(MUTATIONS, ways, monkeypatch)
