"""Mutations of the fast way: a check dropped, a comparison widened, a fence skipped, a plan kept over a reload.

Each is caught by the scenario beside it. A mutation is a change of the source of one function, so that it is as real as
a mistake would be; a row whose text is not in that function any more fails.
"""

import pytest
from tests.both_ways import BothWays
from tests.unit.fast import calls, computed, grants, revocations, scenarios, signing
from tests.unit.fast import tokens as token_scenarios
from tests.unit.fast.mutation import Mutation, find_all

from tokenmint.admission import rate_limit
from tokenmint.admission.rate_limit import RateLimiter
from tokenmint.fast import computing, exchange, minting, people, plans, tokens
from tokenmint.fast.exchange import FastExchange
from tokenmint.fast.people import People
from tokenmint.fast.plans import Plans
from tokenmint.fast.tokens import Tokens
from tokenmint.formats import minter
from tokenmint.formats.minter import Minter
from tokenmint.process import fast_way
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.profiles import near_cache
from tokenmint.profiles.near_cache import NearCache
from tokenmint.rpc import fast_exchange
from tokenmint.verification.keyset import KeySets

pytestmark = pytest.mark.slow


EXCHANGE = (exchange, FastExchange, "exchange")
SIGNERS = (exchange, FastExchange, "_signers")
FINISH = (exchange, FastExchange, "finish")
GO_ON = (exchange, FastExchange, "_go_on")
MINT = (exchange, FastExchange, "_mint")
SIGNED = (exchange, FastExchange, "_signed")
UNSIGNED = (minting, minting, "unsigned_of")
MINTED = (minting, minting, "minted_of")
VERIFY = (exchange, FastExchange, "_verify")
SUBJECT = (tokens, tokens, "subject_of")
DECIDE = (plans, Plans, "_decide")
COMPUTED = (computing, computing, "computed_of")
PERSON = (people, people, "_person")
LINK = (people, people, "_link")
CALLER = (fast_exchange, fast_exchange, "_client")
REQUEST = (fast_exchange, fast_exchange, "_read")

MADE = (plans, Plans, "_made")
PLAIN = (plans, plans, "_is_plain")

MUTATIONS = [
    Mutation(*PLAIN, "request.subject_token_type not in GRANTS", "True", grants.grants_that_are_used_once),
    Mutation(minter, Minter, "plain_kit", " and not grant.status_list", "", grants.tokens_that_are_in_a_status_list),
    # the target
    Mutation(*MADE, "policy.completed(client, request)", "request", scenarios.plain_exchanges),
    # the story
    Mutation(
        *SIGNERS, "if not self._service.audit.takes_exchanges:", "if False:", scenarios.times_when_nothing_is_served
    ),
    Mutation(*SIGNERS, "self._exchange.serving()", "pass", scenarios.times_when_nothing_is_served),
    Mutation(*SIGNERS, "self._exchange.require_revocations()", "pass", scenarios.times_when_nothing_is_served),
    Mutation(
        *EXCHANGE,
        "proved.provider not in plan.providers",
        "False",
        scenarios.providers_that_an_audience_does_not_take,
    ),
    Mutation(*EXCHANGE, "self._provider_revoked(proved)", "False", revocations.bulk_revocations),
    Mutation(exchange, FastExchange, "_just_revoked", "bool(bulk)", "False", revocations.bulk_revocations),
    Mutation(*MINT, "proved.issued_at <= person.valid_after", "False", scenarios.profiles_that_change),
    Mutation(
        *MINT,
        "proved.issued_at <= person.valid_after",
        "proved.issued_at < person.valid_after",
        scenarios.profiles_that_change,
    ),
    Mutation(
        *SIGNED, "self._service.limiter.spend(ready.lots, ready.instant, plan.cost)", "pass", scenarios.plain_exchanges
    ),
    Mutation(
        *EXCHANGE,
        "if lots is None:",
        "lots = lots or ()\n    if False:",
        scenarios.calls_beyond_the_limits,
    ),
    Mutation(
        *EXCHANGE,
        "None if service.limiter.refuses(plan.buckets, instant) else Unpaid(plan, token)",
        "Unpaid(plan, token)",
        scenarios.calls_beyond_the_limits,
    ),
    Mutation(
        *FINISH, "self._service.limiter.refund(paid, unfinished.plan.cost)", "pass", scenarios.calls_beyond_the_limits
    ),
    Mutation(*FINISH, "self._service.limiter.refund(paid, unfinished.plan.cost)", "pass", scenarios.calls_that_wait),
    Mutation(
        *FINISH,
        "self.exchange(unfinished.plan, unfinished.token, paid) if paid is not None else None",
        "self.exchange(unfinished.plan, unfinished.token, paid or ())",
        scenarios.calls_beyond_the_limits,
    ),
    Mutation(
        *GO_ON,
        "if signers is None or lots is None:",
        "lots = lots or ()\n    if signers is None:",
        scenarios.calls_that_wait,
    ),
    # the token
    Mutation(
        *VERIFY,
        "if not rules.key.verify(rules.algorithm, token[: len(header) + 1 + len(payload)], signed):",
        "if False:",
        token_scenarios.tokens_that_are_refused,
    ),
    Mutation(
        *VERIFY,
        "self._signatures.get(digest) != rules.signed",
        "digest not in self._signatures",
        scenarios.the_providers_keys_change,
    ),
    Mutation(
        *VERIFY,
        "hashlib.sha256(token)",
        "hashlib.sha256(token.rpartition(b'.')[0])",
        token_scenarios.a_signature_that_was_good_for_another_token,
    ),
    Mutation(
        *VERIFY,
        'decode_segment(signature, "signature")',
        "__import__('base64').urlsafe_b64decode(signature + b'==')",
        token_scenarios.tokens_that_are_refused,
    ),
    Mutation(
        *VERIFY,
        'parse_object(decode_segment(payload, "payload"), "payload")',
        "__import__('orjson').loads(decode_segment(payload, 'payload'))",
        token_scenarios.tokens_that_are_refused,
    ),
    Mutation(*SUBJECT, "if name in claims:", "if False:", token_scenarios.tokens_that_are_refused),
    Mutation(
        *SUBJECT,
        "now < expires + provider.skew",
        "now <= expires + provider.skew",
        token_scenarios.tokens_that_are_refused,
    ),
    Mutation(*SUBJECT, "now < expires + provider.skew", "True", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "expires <= LATEST", "True", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "0 <= issued <= latest", "0 <= issued", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "0 <= begins <= latest", "0 <= begins", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "0 <= begins <= latest", "begins <= latest", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "type(begins) is int", "isinstance(begins, int)", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "check_times(provider, claims, now)", "pass", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, " and provider.max_age is None", "", scenarios.tokens_that_are_too_old),
    Mutation(*SUBJECT, "audience not in provider.audiences", "False", token_scenarios.tokens_that_are_refused),
    Mutation(
        *SUBJECT, "check_audience(provider, claims, rules.token_type)", "pass", token_scenarios.tokens_that_are_refused
    ),
    Mutation(*SUBJECT, "if type(token_id) is str and token_id else None", "", token_scenarios.tokens_that_are_refused),
    Mutation(*SUBJECT, "if not rules.by_sub:", "if False:", scenarios.configurations_that_change),
    Mutation(
        tokens,
        Tokens,
        "_made",
        "header.algorithm not in provider.algorithms",
        "False",
        scenarios.configurations_that_change,
    ),
    Mutation(
        tokens, Tokens, "_made", "if header.algorithm in key.algorithms", "", token_scenarios.tokens_that_are_refused
    ),
    Mutation(
        tokens,
        Tokens,
        "_made",
        "token_type = check_kind(provider, _unverified(header, issuer), token_type)",
        "pass",
        token_scenarios.tokens_that_are_refused,
    ),
    Mutation(
        tokens,
        Tokens,
        "rules",
        " or rules.keys is not self._trusted(rules.provider.name)",
        "",
        scenarios.the_providers_keys_change,
    ),
    Mutation(tokens, KeySets, "trusted", "if self._trusted(state) else ()", "", scenarios.the_providers_keys_change),
    # the plan
    Mutation(
        *DECIDE,
        "audience = policy.admit(client, request)",
        "audience = policy._audiences[request.audience]",
        calls.requests_that_are_refused,
    ),
    Mutation(*DECIDE, " or audience.single_use", "", scenarios.configurations_that_change),
    Mutation(plans, Plans, "of", "key = client.client_id, rest", "key = '', rest", calls.callers_that_are_refused),
    Mutation(
        fast_way,
        FastWayInForce,
        "__call__",
        "if self._exchange is not self._rules.exchange or self._authenticator is not self._rules.authenticator:",
        "if False:",
        scenarios.configurations_that_change,
    ),
    Mutation(*REQUEST, "alone.subject_token or ", "", calls.requests_that_are_refused),
    Mutation(
        *REQUEST, "alone.subject_token or message.subject_token != _PROBE", "False", calls.requests_that_are_refused
    ),
    Mutation(
        *REQUEST,
        "if message.nonce or message.request_id or message.actor_token or message.dpop_jkt:",
        "message.ClearField('nonce')\n    if False:",
        calls.requests_that_are_refused,
    ),
    # the caller
    Mutation(
        *CALLER, "if secret is not None or not isinstance(value, str):", "if False:", calls.callers_that_are_refused
    ),
    Mutation(
        *CALLER,
        "if identifier is not None or not isinstance(value, str):",
        "if False:",
        calls.callers_that_are_refused,
    ),
    Mutation(*CALLER, "elif key in _ELSEWHERE:", "elif False:", calls.callers_that_are_refused),
    Mutation(
        exchange,
        FastExchange,
        "client",
        "return self._by_secret.get((identifier, digest)) if secret else None",
        "return next((one for (name, _), one in self._by_secret.items() if name == identifier), None)",
        calls.callers_that_are_refused,
    ),
    # the limits
    Mutation(rate_limit, RateLimiter, "at_hand", "lot.left < cost or ", "", scenarios.calls_beyond_the_limits),
    Mutation(rate_limit, RateLimiter, "at_hand", " or now >= lot.until", "", scenarios.calls_beyond_the_limits),
    Mutation(
        rate_limit,
        RateLimiter,
        "at_hand",
        " or (lot.rate is not rate and lot.rate != rate)",
        "",
        scenarios.calls_beyond_the_limits,
    ),
    # the profile
    Mutation(
        people, People, "find", "entry is not None and entry.raw is person.raw", "True", scenarios.profiles_that_change
    ),
    Mutation(people, People, "find", " and person.templates == templates", "", scenarios.configurations_that_change),
    Mutation(*LINK, " and not link.unlinked", "", scenarios.identities_that_were_unlinked),
    Mutation(*PERSON, "record.disabled or ", "", scenarios.profiles_that_change),
    Mutation(*PERSON, " or identity not in record.identities", "", scenarios.identities_that_a_profile_does_not_list),
    Mutation(
        near_cache,
        NearCache,
        "peek",
        " or now > entry.lane.usable_until",
        "",
        scenarios.a_near_cache_that_may_not_be_used,
    ),
    Mutation(
        near_cache,
        NearCache,
        "peek",
        " or now - entry.asked > MAX_AGE",
        "",
        scenarios.a_near_cache_that_may_not_be_used,
    ),
    # what CEL decides
    Mutation(*MADE, "computed=policy.computes(one.audience.name)", "computed=False", computed.conditions_and_claims),
    Mutation(
        *MINT, "target.computed or not proved.rules.plain", "not proved.rules.plain", computed.conditions_and_claims
    ),
    Mutation(*MINT, "target.computed or not proved.rules.plain", "target.computed", computed.providers_rules_by_cel),
    Mutation(
        *COMPUTED,
        "policy.derive(_verified(of.proved), client, request)",
        "_verified(of.proved)",
        computed.providers_rules_by_cel,
    ),
    Mutation(
        *COMPUTED, "policy.admit_subject(audience, verified, client, request)", "pass", computed.providers_rules_by_cel
    ),
    Mutation(
        *COMPUTED,
        "parse_record(of.person.principal, of.person.raw)",
        "Profile(of.person.principal)",
        computed.conditions_and_claims,
    ),
    Mutation(*COMPUTED, "now=of.proved.now", "now=int(of.proved.now) - 1", computed.times_that_pass_with_cel),
    Mutation(*COMPUTED, "token_id=token_id.decode()", "token_id='x'", computed.conditions_and_claims),
    # the token that is minted
    Mutation(*UNSIGNED, "if target.key_id != signer.key_id:", "if not target.key_id:", signing.our_keys_change),
    Mutation(*UNSIGNED, "if target.second != second:", "if target.second < 0:", scenarios.times_that_pass),
    Mutation(*MINTED, "len(token) > grant.max_token_bytes", "False", scenarios.tokens_that_are_too_large),
    Mutation(*SIGNED, "self._events.append(event_of(plan, proved, minted))", "pass", scenarios.plain_exchanges),
    Mutation(exchange, FastExchange, "ended", "if parent is not None:", "if False:", calls.callers_with_a_trace),
    Mutation(
        exchange,
        FastExchange,
        "_sign",
        "(token.signer, token.text)",
        "(token.signer, token.text + b'x')",
        signing.signatures_that_take_a_thread,
    ),
]


async def test_every_mutation_is_found(ways: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    await find_all(MUTATIONS, ways, monkeypatch)
