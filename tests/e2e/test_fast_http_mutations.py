"""Mutations of the fast way over HTTP, each found by the test beside it (as in `tests/unit/fast/test_mutations.py`)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.both_http_ways import Http, both_http_ways
from tests.e2e import test_fast_http as scenarios
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer
from tests.mutations import mutate

from tokenmint.base.capacity import Capacity
from tokenmint.web import fast_documents, fast_requests, fast_token
from tokenmint.web.fast_documents import FastDocument
from tokenmint.web.fast_requests import FastRequests
from tokenmint.web.fast_token import FastToken

Scenario = Callable[[Http], Awaitable[None]]


async def limits(http: Http) -> None:
    """The scenario of limits, with its changes taken back."""
    with pytest.MonkeyPatch.context() as patched:
        await scenarios.test_limits_hold_for_requests_that_are_known(http, patched)


LEARN = (fast_requests, FastRequests, "learn")
ANSWER = (fast_token, FastToken, "answer")
ANSWERED = (fast_token, FastToken, "_answered")
MUTATIONS: list[tuple[Any, Any, str, str, str, Scenario]] = [
    # the head
    (*LEARN, "not names <= _PLAIN", "False", scenarios.test_what_only_the_full_way_does_takes_it),
    (*LEARN, "len(names) < len(fields)", "False", scenarios.test_what_only_the_full_way_does_takes_it),
    (*LEARN, ' or scope["query_string"]', "", scenarios.test_what_only_the_full_way_does_takes_it),
    (
        fast_token, FastToken, "learn", ' or not is_form(fields.getlist("content-type"))', "",
        scenarios.test_callers_that_the_full_way_does_not_prove_are_refused,
    ),
    # the client
    (*ANSWER, "learned.fast() is not fast or ", "", scenarios.test_a_reload_ends_what_a_head_proved),
    (*ANSWER, " or not self._capacity.takes_bounded", "", limits),
    (*ANSWER, ' or b"client_" in rest', "", scenarios.test_plain_exchanges_take_the_fast_way),
    (
        fast_token, fast_token, "_client_of", 'form.keys() & (_CLIENT - {"client_id"}) or ', "",
        scenarios.test_what_the_full_way_refuses_is_refused_by_both,
    ),
    (
        fast_token, fast_token, "_client_of", 'single(form, "client_id") not in ("", client.client_id)', "False",
        scenarios.test_what_the_full_way_refuses_is_refused_by_both,
    ),
    (
        fast_token, fast_token, "_read", "_CLIENT | OF_TRANSACTIONS", "OF_TRANSACTIONS",
        scenarios.test_what_the_full_way_refuses_is_refused_by_both,
    ),
    (
        fast_token, fast_token, "_read", "_CLIENT | OF_TRANSACTIONS", "_CLIENT",
        scenarios.test_what_the_full_way_refuses_is_refused_by_both,
    ),
    # the response
    (*ANSWERED, ', "200", parent)', ", parent=parent)", scenarios.test_plain_exchanges_take_the_fast_way),
    (
        *ANSWERED, ', "200", parent)', ', "200")',
        scenarios.test_a_caller_with_a_trace_takes_the_fast_way_and_is_recorded_with_it,
    ),
    (*ANSWERED, "fast.write()", "pass", scenarios.test_plain_exchanges_take_the_fast_way),
    (
        fast_token, FastToken, "_later", "in_hand(None)", "pass",
        scenarios.test_profiles_that_have_to_be_read_are_waited_for,
    ),
    (
        fast_documents, FastDocument, "answer", "self._version != version", "self._version is None",
        scenarios.test_fetches_of_the_key_set_are_noted_and_follow_its_changes,
    ),
    (
        fast_documents, FastDocument, "answer", " and has(learned.if_none_match, document)", "",
        scenarios.test_public_documents_are_the_same_by_both_ways,
    ),
]  # fmt: skip


@pytest.fixture
async def http(
    tmp_path: Path, redis_url: str, redis_prefix: str, issuer: Issuer, clock: FakeClock, entropy: FakeEntropy,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Http]:  # fmt: skip
    async with both_http_ways(tmp_path, redis_url, redis_prefix, issuer, clock, entropy, monkeypatch) as found:
        yield found


def end_all(capacity: Capacity) -> None:
    """End the calls that a mutation left in hand: a stop would wait for them."""
    capacity.in_flight = capacity._bounded = capacity._whole = 0
    capacity._idle.set()
    capacity._none_whole.set()


async def test_every_mutation_is_found(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    survivors = []
    for *mutation, scenario in MUTATIONS:
        http.forget()
        http.cold = False
        end_all(http.ways.rig.base.capacity)
        await http.check(recognised=True)  # what was mutated before left nothing behind
        with monkeypatch.context() as patched:
            mutate(patched, *mutation)
            http.forget()
            try:
                await scenario(http)
            except AssertionError:
                pass
            else:
                survivors.append(f"{mutation[2]}: {mutation[3]!r} -> {mutation[4]!r}")
    end_all(http.ways.rig.base.capacity)
    assert not survivors, "\n".join(survivors)
