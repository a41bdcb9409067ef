"""The report of a provider's trial: tables for people, one JSON document for scripts."""

import os
from collections.abc import Iterator
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tokenmint.base.clock import rfc3339
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.http_url import HttpUrl
from tokenmint.cli.output import plain
from tokenmint.cli.provider_trial import Trial
from tokenmint.cli.tables import print_table, state
from tokenmint.cli.times import at
from tokenmint.config.proxies import FROM_ENVIRONMENT
from tokenmint.exchange.explain import Outcome
from tokenmint.verification.answers import Answer
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.provider import Provider

MOST_UNUSED: Final = 20  # reasons in the report for people


def as_document(trial: Trial) -> dict[str, Any]:
    """Return the report as JSON."""
    provider, status = trial.provider, trial.status
    return {
        "provider": provider.name,
        "issuers": sorted(provider.issuers),
        "key_source": status.source if status is not None else "",
        "proxy": _proxy(provider),
        "answers": [
            {
                "url": answer.url,
                "address": answer.address,
                "proxy": answer.proxy,
                "status": answer.result.status,
                "bytes": len(answer.result.body),
                "clock_difference": difference,
                "certificates": [one | {"not_after": rfc3339(one["not_after"])} for one in _certificates(answer)],
            }
            for answer, difference in trial.answers
        ],
        "keys": [
            {
                "key_id": key.key_id,
                "type": _type(key),
                "algorithms": sorted(key.algorithms),
                "thumbprint": key.thumbprint,
                "usable": trial.serves(key),
                "reason": _reason(trial, key),
            }
            for key in trial.keys
        ],
        "unused_keys": list(status.skipped) if status is not None else [],
        "problem": trial.problem,
        "steps": [
            {"name": step.name, "outcome": str(step.outcome), "reason": step.reason, "detail": step.detail}
            for step in trial.steps
        ],
        "subject": trial.verified.subject if trial.verified is not None and not trial.refused else None,
    }


def print_report(trial: Trial) -> None:
    """Print the report for people."""
    provider, status = trial.provider, trial.status
    source = status.source if status is not None else ""
    print(
        f"provider  {plain(provider.name)}: {plain(', '.join(sorted(provider.issuers)) or 'tokens without an issuer')}"
    )
    print(f"keys at   {plain(source)}")
    if provider.key_source.is_fetched:
        print(f"proxy     {plain(_proxy(provider) or f'none{_unused_proxy()}')}{_direct(provider)}")
    for answer, difference in trial.answers:
        _print_answer(answer, difference, provider)
    rows = [
        (key.key_id or "-", _type(key), ", ".join(sorted(key.algorithms)), _reason(trial, key) or state("usable"))
        for key in trial.keys
    ]
    print()
    print_table(("key", "type", "algorithms", "state"), rows, "no keys", folded=("algorithms", "state"))
    skipped = status.skipped if status is not None else ()
    for reason in skipped[:MOST_UNUSED]:
        print(f"not used: {plain(reason)}")
    if len(skipped) > MOST_UNUSED:
        print(f"not used: {len(skipped) - MOST_UNUSED} more, which -o json lists")
    if trial.steps:
        print()
        steps = [(step.name, state(str(step.outcome)), step.reason, step.detail) for step in trial.steps]
        print_table(
            ("step", "outcome", "reason", "what was compared"), steps, "no steps", folded=("what was compared",), lead=2
        )
    print()
    print(plain(_result(trial)))


def _result(trial: Trial) -> str:
    name = trial.provider.name
    if trial.problem:
        return f"{name}: no keys: {trial.problem}"
    if trial.refused:
        return f"{name}: the token is refused"
    if trial.verified is not None:
        return f"{name}: the token is accepted, with the subject {clipped(trial.verified.subject, LONG)!r}"
    usable = sum(map(trial.serves, trial.keys))
    return f"{name}: {usable} usable key{'' if usable == 1 else 's'}"


def _print_answer(answer: Answer, difference: float | None, provider: Provider) -> None:
    way = f"through the proxy {answer.proxy}" if answer.proxy else f"from {answer.address}"
    print()
    print(f"fetched   {plain(answer.url)} {way}: {answer.result.status}, {len(answer.result.body)} bytes")
    if difference is None:
        print("clock     the answer has no date")
    else:
        far = "" if abs(difference) <= provider.skew else f": more than skew, {provider.skew:g} s"
        print(f"clock     the server's {_seconds(difference)} this machine's{far}")
    rows = [
        (str(number), found["subject"], found["issuer"], at(found["not_after"]))
        for number, found in enumerate(_certificates(answer))
    ]
    if rows:
        print_table(("certificate", "subject", "issuer", "valid until"), rows, "", folded=("subject", "issuer"))


def _seconds(difference: float) -> str:
    if abs(difference) < 1.5:  # the date has whole seconds
        return "agrees with"
    return f"is {abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'}"


def _proxy(provider: Provider) -> str | None:
    proxy = provider.key_source.proxy
    if proxy is None:
        return None
    return f"{proxy.url.scheme}://{proxy.url.authority}"


def _direct(provider: Provider) -> str:
    """Return a note if the configured proxy is not used for the provider's first URL."""
    proxy, url = provider.key_source.proxy, provider.key_source.url
    if proxy is None or proxy.serves(HttpUrl.parse(url)):
        return ""
    return ", but this host is reached directly (loopback, or no_proxy)"


def _unused_proxy() -> str:
    """Return what people wonder about who have a proxy in the environment."""
    named = next((name for name in FROM_ENVIRONMENT if os.environ.get(name)), "")
    return f": {named} is not read, unless proxy.environment = true" if named else ""


def _certificates(answer: Answer) -> Iterator[dict[str, Any]]:
    for der in answer.certificates:
        try:
            certificate = x509.load_der_x509_certificate(der)
            subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        except ValueError:
            yield {"subject": "(can't be read)", "issuer": "", "not_after": 0.0}
            continue
        yield {
            "subject": clipped(subject, LONG),
            "issuer": clipped(issuer, LONG),
            "not_after": certificate.not_valid_after_utc.timestamp(),
        }


def _type(key: VerificationKey) -> str:
    public = key.public_key
    if isinstance(public, rsa.RSAPublicKey):
        return f"RSA {public.key_size}"
    return f"EC {public.curve.name}" if isinstance(public, ec.EllipticCurvePublicKey) else "Ed25519"


def _reason(trial: Trial, key: VerificationKey) -> str:
    """Return the reason why tokens of the provider may not be signed with ``key``; "" if they may."""
    accepted = ", ".join(sorted(trial.provider.algorithms))
    return "" if trial.serves(key) else f"not for the provider's algorithms: {accepted}"


def status_of(trial: Trial) -> int:
    """Return the exit status: 3 if the provider could not be reached, 1 if something else is wrong."""
    if trial.problem:
        return 3 if trial.again else 1
    return 1 if any(step.outcome is Outcome.FAILED for step in trial.steps) else 0
