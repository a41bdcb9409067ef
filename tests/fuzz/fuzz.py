"""Coverage-guided fuzzing with atheris: on any input, only the taxonomy's errors come out.

`make fuzz MINUTES=10` runs every target for its share of the time, `make fuzz RUNS=10000` every target with as many
inputs, the same ones each time, `python -m tests.fuzz.fuzz TARGET [options]` one of them, with
PYTHONPATH=.:clients/python/src. What is found is kept as a file that the same command takes as an argument, and becomes
a regression test.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tokenmint", "tokenmint_client"]):
    from tests.fuzz import sts_targets

    from tokenmint.admission.validation import MAX_OBJECT
    from tokenmint.base.clock import SystemClock
    from tokenmint.base.errors import ConfigurationError, CorruptRecord, InvalidRequest, TokenmintError
    from tokenmint.base.spiffe_id import in_trust_domain, spiffe_id
    from tokenmint.base.token_errors import MalformedToken, TokenRejected
    from tokenmint.config.providers import provider_from_table
    from tokenmint.formats import txn_token
    from tokenmint.formats.jwt import FORMAT
    from tokenmint.formats.spiffe import sources_of
    from tokenmint.keys import store as ring_store
    from tokenmint.model.format import TransactionRules
    from tokenmint.model.policy import Audience, Binding, Client, ExchangeRequest
    from tokenmint.model.profile import Identity, Profile
    from tokenmint.model.secret import Secret
    from tokenmint.model.signals import Delivery
    from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, TXN_TOKEN, JsonValue, VerifiedToken
    from tokenmint.policy import conditions, mapping
    from tokenmint.policy.grant import Policy
    from tokenmint.profiles.records import parse_link, parse_record
    from tokenmint.rpc import convert
    from tokenmint.signals.receiver import identities_of
    from tokenmint.v1 import profile_pb2, token_exchange_service_pb2
    from tokenmint.verification.event_verifier import read_events
    from tokenmint.verification.jwk import BadKey
    from tokenmint.verification.jwk_set import parse_jwks, parse_x509_map
    from tokenmint.verification.jws import parse_compact, parse_object
    from tokenmint.verification.key_document import freshness
    from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource
    from tokenmint.verification.keyset import KeySets
    from tokenmint.verification.subject_identifiers import read_subject
    from tokenmint.verification.verifier import Verifier
    from tokenmint.web.oauth import OF_TRANSACTIONS, TOKEN_EXCHANGE, exchange_request

from google.protobuf.message import DecodeError

SEEDS = Path(__file__).parent / "seeds"
NOW = 1_800_000_000.0
CLIENT = Client("web")
AUDIENCE = Audience(
    "https://api.example", clients=frozenset({"web"}), providers=frozenset({"idp"}), format=FORMAT.traits, lifetime=60
)
DOMAIN = replace(
    AUDIENCE,
    name="trust-domain.example",
    scopes=frozenset({"read"}),
    format=replace(
        txn_token.FORMAT.traits,
        transaction=TransactionRules(tctx=(("a", "request.details.a"), ("b", "=request.details.b"))),
    ),
)
TRANSACTIONS = Policy({DOMAIN.name: DOMAIN}, "https://me.example")
JWKS = (SEEDS / "key_sets" / "jwks.json").read_bytes()


async def _no_fetch(source: KeySource, url: str, *, etag: str | None) -> FetchResult:
    raise FetchFailed("nothing is fetched here")


def _verifier() -> Verifier:
    table = {
        "issuer": "https://idp.example",
        "audiences": ["app"],
        "jwks": JWKS.decode(),
        "algorithms": ["ES256", "RS256"],
        "signals": {"deliveries": ["secevent", "logout", "apple"]},
    }
    provider = provider_from_table("idp", table, own_issuer="https://me.example")
    sets = KeySets({"idp": provider.key_source}, fetch=_no_fetch, clock=SystemClock())
    return Verifier({"idp": provider}, sets, own_issuer="https://me.example")


VERIFIER = _verifier()


def parsing(data: bytes) -> None:
    with contextlib.suppress(MalformedToken):
        parse_compact(Secret(data))
    with contextlib.suppress(MalformedToken):
        parse_object(data, "fuzzed")


def key_sets(data: bytes) -> None:
    with contextlib.suppress(BadKey):
        parse_jwks(data)
    with contextlib.suppress(BadKey):
        parse_x509_map(data)
    freshness({"cache-control": data[:200].decode("latin-1"), "age": data[200:].decode("latin-1")})


def verification(data: bytes) -> None:
    with contextlib.suppress(TokenRejected):
        asyncio.run(VERIFIER.verify(Secret(data), ID_TOKEN, nonce="n", now=NOW))
        raise AssertionError("a token that nobody signed was accepted")


def events(data: bytes) -> None:
    """Feed a well-formed payload, otherwise anything, to the readers of events, and to the one of subjects."""
    with contextlib.suppress(MalformedToken):
        payload = parse_object(data, "payload")
        for delivery in Delivery:
            with contextlib.suppress(TokenRejected):
                for event in read_events(VERIFIER.providers["idp"], delivery, "https://idp.example", payload):
                    identities_of(VERIFIER.providers["idp"], event.subjects)
        with contextlib.suppress(TokenRejected):
            found = read_subject(payload, frozenset({"https://idp.example"}), {"opaque": "sub"})
            if any(one.get("iss", "https://idp.example") != "https://idp.example" for one in found.claims):
                raise AssertionError("a subject at another issuer was accepted")


def claims(data: bytes) -> None:
    """Feed well-formed claims, otherwise anything, to the checks after the signature."""
    from tokenmint.model.tokens import ID_TOKEN
    from tokenmint.verification import provider as checks
    from tokenmint.verification.subjects import subject

    provider = VERIFIER.providers["idp"]
    with contextlib.suppress(TokenRejected):
        payload = checks.normalised(provider, parse_object(data, "claims"))
        checks.check_times(provider, payload, NOW)
        checks.check_audience(provider, payload)
        checks.check_nonce(payload, "n")
        checks.check_claims(provider, "https://idp.example", payload, NOW)
        subject(provider, payload, ID_TOKEN)


def policy(data: bytes) -> None:
    """A condition and a computed claim, and after a zero byte the claims that they meet, as JSON."""
    text, _, values = data.partition(b"\0")
    source = text.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ValueError):
        mapping.parse(source)
    with contextlib.suppress(ConfigurationError):
        Policy({AUDIENCE.name: replace(AUDIENCE, claims=(("mapped", source),))}, "https://me.example")
    computed = replace(AUDIENCE, claims=(("computed", "=" + source),))
    try:
        rules = Policy({AUDIENCE.name: computed}, "https://me.example", {}, {"idp": (("derived", source),)})
    except ConfigurationError:
        return
    claims: dict[str, JsonValue] = {}
    with contextlib.suppress(MalformedToken):
        claims = parse_object(values, "claims")
    verified = VerifiedToken("idp", "https://idp.example", "1", ID_TOKEN, claims, NOW, NOW + 60, "f", "r", False)
    profile = Profile("ada", claims=claims, roles=("clerk", *map(str, claims)))
    request = ExchangeRequest(Secret(b"x"), audience=AUDIENCE.name, scopes=tuple(map(str, claims)), lifetime=60)
    derived = rules.derive(verified, CLIENT, request)
    with contextlib.suppress(TokenmintError):
        grant = rules.decide(replace(request, scopes=()), CLIENT, computed, derived, profile, now=NOW)
        json.dumps(dict(grant.claims), allow_nan=False)
    _holds(source, conditions.facts(derived, CLIENT, request, profile))


def _holds(source: str, known: conditions.Facts) -> None:
    """Assert that an erroneous expression is not true, and that its opposite is not either."""
    true, false = (f"dyn({source}\n) == {value}" for value in ("true", "false"))
    try:
        compiled = [conditions.compile_condition(text) for text in (true, f"!({true})", false)]
        value = conditions.compile_claim(source)
    except ValueError:
        return
    yes, no, other = (conditions.holds(condition, known) for condition in compiled)
    if yes and (no or other):
        raise AssertionError("an expression is true, and its opposite is")
    if _is_error(value, known) and (yes or no or other):
        raise AssertionError("an error is true")


def _is_error(expression: conditions.Expression, known: conditions.Facts) -> bool:
    """Return whether the value is an error: CEL returns most of them, and raises some (a map with a key twice)."""
    try:
        return bool(expression._program.eval(data=known).type().name() == "ERROR")
    except RuntimeError:
        return True


def messages(data: bytes) -> None:
    with contextlib.suppress(DecodeError, InvalidRequest):
        convert.exchange_request(token_exchange_service_pb2.ExchangeTokenRequest.FromString(data))
    with contextlib.suppress(DecodeError, InvalidRequest):
        convert.batch_requests(token_exchange_service_pb2.BatchExchangeTokensRequest.FromString(data))
    with contextlib.suppress(DecodeError):
        convert.profile(profile_pb2.Profile.FromString(data))


def parameters(data: bytes) -> None:
    """The JSON objects of a request for a transaction token, over both transports, and the token's content."""
    text = data.decode("utf-8", "surrogateescape")
    form = dict.fromkeys(sorted(OF_TRANSACTIONS), (text,)) | {
        "grant_type": (TOKEN_EXCHANGE,), "subject_token": ("x",), "subject_token_type": (ACCESS_TOKEN,),
        "audience": (DOMAIN.name,), "scope": ("read",), "requested_token_type": (TXN_TOKEN,),
    }  # fmt: skip
    try:
        request = exchange_request(form, Binding(), transactions=True)
    except InvalidRequest:
        return
    for found in (request.request_context, request.request_details):
        if found is not None and (len(data) > MAX_OBJECT or json.loads(text) != found):
            raise AssertionError("another object than the one that was sent")
    with contextlib.suppress(DecodeError, InvalidRequest, UnicodeEncodeError):
        message = token_exchange_service_pb2.ExchangeTokenRequest(subject_token="x", request_details=text)
        assert convert.exchange_request(message).request_details == request.request_details
    claims: dict[str, JsonValue] = {"scope": "read"}
    verified = VerifiedToken("idp", "https://idp.example", "1", ACCESS_TOKEN, claims, NOW, NOW + 60, "f", "r", False)
    with contextlib.suppress(TokenmintError):
        grant = TRANSACTIONS.decide(request, CLIENT, DOMAIN, verified, Profile("ada"), now=NOW)
        assert grant.transaction is not None
        json.dumps(dict(grant.transaction.tctx), allow_nan=False)


def records(data: bytes) -> None:
    """Values in the store that somebody else wrote."""
    with contextlib.suppress(CorruptRecord):
        ring_store.parse(data)
    with contextlib.suppress(CorruptRecord):
        parse_record("ada", data)
    with contextlib.suppress(CorruptRecord):
        parse_link(Identity("idp", "1"), data)


def spiffe_ids(data: bytes) -> None:
    """A path of the configuration, with values of a subject token: they make an id of our trust domain, or none."""
    path, _, value = data.decode(errors="surrogateescape").partition("\0")
    with contextlib.suppress(ValueError):
        sources = sources_of(path)
        assert sources
        made = spiffe_id("t.example", "".join(f"/{source.strip(chr(39))}" for source in sources))
        assert in_trust_domain(made, "t.example")
    with contextlib.suppress(ValueError):
        made = spiffe_id("t.example", f"/agents/{value}")
        assert made == f"spiffe://t.example/agents/{value}"
        assert made.isascii()
        assert "//" not in made.removeprefix("spiffe://")
    assert not in_trust_domain(value, "t.example") or value.startswith("spiffe://t.example/")


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        parsing, key_sets, verification, claims, events, policy, messages, parameters, records, spiffe_ids,
        sts_targets.resources, sts_targets.id_jags, sts_targets.plain_grants, sts_targets.assertions,
        sts_targets.protected_resources,
    )
}  # fmt: skip


def run_all(limit: str, seconds: int) -> int:
    """Run every target in a process of its own, print what each did, and at the end what was found.

    ``limit``: the fuzzer's option that ends a target. ``seconds``: how long that takes at most.
    """
    findings: dict[str, str] = {}
    for name in TARGETS:
        with tempfile.TemporaryDirectory() as work:
            options = [
                limit,
                *(["-seed=1"] if limit.startswith("-runs") else []),
                "-max_len=4096",
                "-print_final_stats=1",
                f"-artifact_prefix={SEEDS}/",
            ]
            outcome = subprocess.run(
                [sys.executable, "-m", __spec__.name, name, *options, work, str(SEEDS / name)],
                capture_output=True, text=True, check=False, timeout=seconds + 300,
                env=os.environ | {"PYTHONHASHSEED": "0"},
            )  # fmt: skip
        executed = re.search(r"number_of_executed_units: *(\d+)", outcome.stderr)
        if outcome.returncode != 0:
            findings[name] = outcome.stderr[-4000:]
        count = executed[1] if executed else "?"
        print(
            f"{name:19} {count:>10} executions   {'FOUND SOMETHING' if name in findings else 'no finding'}", flush=True
        )
    for name, text in findings.items():
        print(f"\n{name} found:\n{text}")
    return int(bool(findings))


def main() -> None:
    match sys.argv[1:]:
        case ["--minutes", minutes]:
            each = max(1, round(float(minutes) * 60 / len(TARGETS)))
            sys.exit(run_all(f"-max_total_time={each}", each))
        case ["--runs", runs]:  # of the same inputs each time, however busy the machine is
            sys.exit(run_all(f"-runs={int(runs)}", 600))
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
