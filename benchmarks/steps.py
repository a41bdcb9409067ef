"""The steps of an exchange: the functions that take each, and what is remembered there. `make profile` measures them.

A sample belongs to the innermost of these functions that is running, so a step's time includes the functions that it
calls, but for those that are a row themselves. `tests/unit/test_performance_page.py` fails where a function is gone.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """A part of an exchange."""

    name: str
    function: str
    """The dotted name of what takes it, below `tokenmint`; functions within functions by their own names."""
    cached: str = ""
    """The results that the step caches."""
    where: str = ""
    """The module that remembers it, as docs/architecture.md ("What is remembered") has it."""


_PARSED: Final = "the JOSE header, by its text; a token's claims with its good signature"
STEPS: Final = (
    Step("fast way: batch of calls", "rpc.fast_calls.FastCalls.answer"),
    Step("fast way: request cut, answer", "rpc.fast_exchange.FastExchangeToken.answer"),
    Step("fast way: request cut, answer", "rpc.fast_exchange._Answer.bytes"),
    Step("fast way: request cut, answer", "rpc.fast_exchange.FastBatchExchangeTokens.message"),
    Step("fast way: request cut, answer", "rpc.fast_check.FastCheck.cut"),
    Step("fast way: request cut, answer", "rpc.fast_check.FastCheck.message"),
    Step("gateway: the request's token", "gateway.request.find_token"),
    Step("fast way: caller", "rpc.fast_exchange._client"),
    Step("fast way: plan", "fast.plans.Plans.of"),
    Step("fast way: limits", "admission.rate_limit.RateLimiter.at_hand", "lots, for 0.5 s", "admission/rate_limit.py"),
    Step("fast way: limits", "admission.rate_limit.RateLimiter.spend"),
    Step("fast way: token", "fast.exchange.FastExchange._verify"),
    Step("fast way: provider's rules", "fast.tokens.Tokens.rules"),
    Step("fast way: times, audience, claims", "fast.tokens.subject_of"),
    Step("fast way: principal", "fast.people.People.find", "readings, on entries of the near cache", "profiles/near_cache.py"),
    Step("fast way: minting", "fast.minting.unsigned_of"),
    Step("fast way: minting", "fast.minting.minted_of"),
    Step("fast way: minting", "fast.exchange.FastExchange._mint"),
    Step("fast way: profile read", "fast.people.People.fetch"),
    Step("fast way: profile read", "fast.exchange.FastExchange.fetch"),
    Step("fast way: profile read", "rpc.fast_calls.FastCalls._finish"),
    Step("fast way: signature", "keys.signers.local.LocalSigner.sign_now"),
    Step("fast way: signatures in threads", "fast.exchange.FastExchange._sign"),
    Step("fast way: signatures in threads", "keys.signers.together.sign_all"),
    Step("fast way: record", "fast.exchange.FastExchange.write"),
    Step("fast way: record", "fast.minting.event_of"),
    Step("fast way: record", "admission.audit.AuditTrail.note_minted"),
    Step("fast way: the rest", "fast.exchange.FastExchange.exchange"),
    Step("call: begun, bounded in time, ended", "rpc.interceptors.Guard._unary.answer"),
    Step("call: native transport's part", "rpc.native_admission.AdmittingFront.respond"),
    Step("call: the message read (grpcio)", "rpc.interceptors._read"),
    Step("request: protobuf", "rpc.codec.Codec._decode"),
    Step("request: validated, converted", "rpc.convert.exchange_request"),
    Step("caller: credentials", "admission.named_credentials.credentials_of", "certificates, by PEM", "rpc/credentials.py"),
    Step("caller: proved", "admission.gate.Gate.admit"),
    Step("rate limits", "admission.rate_limit.RateLimiter._take_of", "lots, for 0.5 s", "admission/rate_limit.py"),
    Step("rate limits", "admission.gate.Gate.enter"),
    Step("policy: may this client ask", "exchange.exchange.TokenExchange.admit"),
    Step("subject token: fingerprint, parsing", "verification.jws.parse_compact", _PARSED, "verification/jws.py"),
    Step("subject token: signature", "verification.jwk.VerificationKey.verify"),
    Step(
        "subject token: signature remembered", "verification.signature_cache.SignatureCache.remember",
        "good signatures", "verification/signature_cache.py",
    ),
    Step("subject token: key", "verification.verifier.Verifier._check_signature", "keys of a provider", "verification/keyset.py"),
    Step("subject token: issuer, times, audience, claims", "verification.verifier.Verifier.verify"),
    Step("profile: read", "profiles.near_cache.NearCache.get", "values of the store, if switched on", "profiles/near_cache.py"),
    Step("profile: read in batches", "profiles.near_cache.NearCache._send"),
    Step("profile: read in batches", "profiles.near_cache.NearCache._read"),
    Step("profile: kept fresh", "profiles.near_cache.NearCache._follow"),
    Step("profile: parsed", "profiles.records.parse_record", "parsed records", "profiles/records.py"),
    Step("profile: parsed", "profiles.records.parse_link", "parsed records", "profiles/records.py"),
    Step("profile: identity to principal to profile", "profiles.resolve.Profiles.find"),
    Step("profile: missing ones", "profiles.resolve.Profiles.apply_missing_profile_policy"),
    Step("policy: decision", "exchange.exchange.TokenExchange.decide"),
    Step("policy: claims", "policy.grant.Policy._content", "the CEL environment", "policy/conditions.py"),
    Step("minting: claims, encoding", "formats.jwt.signing_input", "headers of tokens", "formats/jwt.py"),
    Step("minting: signature", "keys.signers.local.LocalSigner.sign"),
    Step("minting: the rest", "formats.minter.Minter.mint", "tokens of a reuse window", "formats/reuse.py"),
    Step("answer: message", "rpc.convert.minted_token"),
    Step("record: audit event", "admission.audit.AuditTrail.note", "events for the stream", "admission/audit_stream.py"),
    Step("record: log line", "base.logs._json_line", "the second of a log line", "base/logs.py"),
    Step("record: log line", "base.log_writer.LineWriter.put", "lines that are not written yet", "base/log_writer.py"),
    Step("record: written to the stream", "admission.audit.AuditTrail.flush"),
    Step("record: metrics", "base.telemetry.Metrics.call", "numbers", "base/telemetry.py"),
    Step("record: metrics", "base.telemetry.Metrics.minted", "numbers", "base/telemetry.py"),
    Step("record: what is told", "admission.gate.Gate.ended"),
    Step("the exchange itself", "exchange.exchange.TokenExchange.exchange"),
    Step("the exchange itself", "admission.gate.ClientExchanges.one"),
    Step("the exchange itself", "rpc.token_exchange_service.TokenExchangeService.ExchangeToken"),
)  # fmt: skip
REST: Final = "event loop, transport, background"
"""The step of samples in which none of the functions is running."""


def code_of(function: str) -> CodeType:
    """Return the code of a function below `tokenmint`. Raises ``LookupError`` where there is none of this name."""
    names = ["tokenmint", *function.split(".")]
    for length in range(len(names) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(names[:length]))
        except ModuleNotFoundError:
            continue
        for name in names[length:]:
            found = _within(found, name)
        if found is not None:
            code = found if isinstance(found, CodeType) else getattr(found, "__code__", None)
            if isinstance(code, CodeType):
                return code
        break
    raise LookupError(f"there is no function tokenmint.{function}: correct benchmarks/steps.py")


def _within(owner: object, name: str) -> object:
    """Return what ``name`` is in a module, in a class or, as its code, in a function."""
    code = owner if isinstance(owner, CodeType) else getattr(owner, "__code__", None)
    if not isinstance(code, CodeType):
        found = getattr(owner, name, None)
        return getattr(found, "__wrapped__", found)
    inner: Iterator[CodeType] = (one for one in code.co_consts if isinstance(one, CodeType))
    return next((one for one in inner if one.co_name == name), None)


def codes() -> dict[CodeType, int]:
    """Return the index of each step's row by its code."""
    return {code_of(step.function): index for index, step in enumerate(STEPS)}
