"""From written tables to settings: the rules across tables, with all problems collected."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tokenmint.base import extras
from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.key_path import key_path
from tokenmint.config import relying_parties
from tokenmint.config.audiences import audiences_of
from tokenmint.config.callers import CallerRules
from tokenmint.config.entries import TOKEN_TYPES
from tokenmint.config.gateways import problems_of_gateways
from tokenmint.config.keys import KeyRules
from tokenmint.config.listeners import problems_of_listeners, resolved
from tokenmint.config.providers import Judged, judge_provider
from tokenmint.config.proxies import shared_proxy
from tokenmint.config.regions import region_options
from tokenmint.config.settings import Settings, issuer_of
from tokenmint.config.store import store_options
from tokenmint.config.subject_audiences import uncompared_audiences
from tokenmint.config.suggestions import did_you_mean
from tokenmint.config.tables import File
from tokenmint.config.tracing import tracing_options
from tokenmint.firebase.clients import EMULATOR
from tokenmint.formats.table import Formats
from tokenmint.keys import high_water_mark as mark
from tokenmint.model.drafts import DRAFTS, OF_TYPE, needed
from tokenmint.model.policy import Audience
from tokenmint.model.proxies import Proxy
from tokenmint.model.secret import shown
from tokenmint.policy.grant import Policy
from tokenmint.verification.key_file import SETTING, at_hand
from tokenmint.verification.provider import Provider
from tokenmint.verification.selection import disjoint, grants_disjoint, mistakes_grants

_PROVIDER_FILES: Final = ("ca_file", "jwks_file", "service_account_file", "bearer_token_file")
SHARD_EVENTS: Final = 1000
SHARD_BYTES: Final = 1 << 20  # some batches, the largest events among them
MAX_UNUSED: Final = 5  # warnings about the keys of one set
BESIDE_TOKEN: Final = 8 * 1024  # bytes of a request beside its subject token
_EXTRAS: Final = {"pkcs11": "pkcs11", "aws_kms": "aws-kms"}
"""By the table of a signer: the extra that it needs."""


def check(
    file: File, base: Path, environ: Mapping[str, str], formats: Formats, *, development: bool, http: str | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings and all their problems. Settings with a problem are not used.

    Args:
        base: the directory at which relative paths begin.
        formats: the formats that audiences may have, by name.
        development: whether this is for `serve --dev`.
        http: the address of the HTTP listener if its port is known; it is the default issuer.
    """
    issuer = issuer_of(file.issuer, http or file.listen.http)
    problems = list(_problems_of_tables(file, base, environ, development=development))
    proxy = shared_proxy(file.proxy, base, environ, problems)
    judged = _judge_providers(file, base, issuer, proxy)
    problems += [*_problems_of_providers(judged, issuer, file.spiffe.trust_domain), *_problems_of_grants(file, judged)]
    callers = CallerRules(file, base, problems, issuer, proxy)
    audiences, wrong = audiences_of(file, base, formats, development=development, proxy=proxy)
    problems += [*wrong, *problems_of_gateways(file, audiences), *_problems_of_policy(audiences, issuer, judged)]
    schedule = (keys := KeyRules(file, base, problems)).schedule(audiences)
    doubts = relying_parties.judge(file, audiences, schedule, problems)
    return Settings(
        issuer=file.issuer,
        data_dir=(base / file.data_dir).resolve(),
        regions=region_options(file, base, proxy, problems),
        redis_url=file.redis.url,
        redis_prefix=file.redis.prefix,
        redis_options=store_options(file.redis, base, problems),
        proxy=proxy,
        listen=resolved(file.listen, base),
        proxy_hashes=callers.proxy_hashes(),
        key_encryption_key=keys.encryption_key(),
        other_encryption_keys=keys.other_encryption_keys(),
        high_water_mark_file=(base / (file.keys.high_water_mark_file or Path(file.data_dir) / mark.FILE)).resolve(),
        signer=file.keys.signer,
        pkcs11=keys.pkcs11(),
        aws_kms=file.keys.aws_kms,
        algorithms=file.keys.algorithms,
        schedule=schedule,
        limits=file.limits,
        caches=file.caches,
        log=file.log,
        audit=file.audit,
        tracing=tracing_options(file.tracing, base, environ, problems),
        oauth=file.oauth,
        spiffe=file.spiffe,
        status_lists=file.status_lists,
        envoy=file.envoy,
        gateway=file.gateway,
        firebase_emulator=development and bool(environ.get(EMULATOR)),
        reflection=file.reflection,
        channelz=file.channelz,
        providers=MappingProxyType(_providers(judged)),
        audiences=MappingProxyType(audiences),
        formats=formats,
        clients=MappingProxyType(callers.clients()),
        operators=MappingProxyType(callers.operators()),
        assertions=MappingProxyType(callers.assertions),
        warnings=(*_warnings(file, base, audiences, judged), *_unused_keys(judged, callers.assertions), *doubts),
    ), problems


def _problems_of_tables(file: File, base: Path, environ: Mapping[str, str], *, development: bool) -> Iterator[str]:
    yield from _problems_of_issuer(file)
    yield from problems_of_listeners(file, base)
    yield from _problems_of_development(file, environ, development=development)
    yield from _problems_of_limits(file)
    yield from _problems_of_signers(file, base)
    for unknown in sorted(file.oauth.drafts - set(DRAFTS)):
        meant = did_you_mean(unknown, DRAFTS)
        yield f"oauth.drafts: there is no such draft{meant}: expected some of {', '.join(DRAFTS)}"


def _problems_of_issuer(file: File) -> Iterator[str]:
    issuer = file.issuer
    if issuer is None:
        if not file.listen.http.is_loopback:
            yield (
                "issuer: is required if listen.http is not on loopback: the https URL under which verifiers "
                "reach /.well-known/jwks.json"
            )
    elif not issuer.startswith(("https://", "http://")) or issuer.endswith("/") or set("?#*") & set(issuer):
        yield "issuer: expected an https URL without query, fragment, * and trailing slash (RFC 8414)"
    else:
        try:
            url = HttpUrl.parse(issuer)
        except BadUrl as error:
            yield f"issuer: {error}"
            return
        if url.scheme == "http" and not url.is_loopback:
            yield "issuer: expected https (http on loopback only): an attacker could change the keys on the way"


def _problems_of_development(file: File, environ: Mapping[str, str], *, development: bool) -> Iterator[str]:
    if not development:
        if environ.get(EMULATOR):
            yield f"{EMULATOR}: makes Firebase's SDK accept unsigned tokens: unset it (allowed with --dev only)"
        return
    if environ.get(EMULATOR) and not _on_loopback(environ[EMULATOR]):
        yield f"{EMULATOR}: expected an emulator on loopback, for example 127.0.0.1:9099"
    for name, address in file.listen.addresses().items():
        if not address.is_loopback:
            yield f"listen.{name}: --dev admits callers without credentials: on loopback only"
    if file.redis.url:
        yield "redis.url: --dev is for a private store only: leave it out"
    if (file.issuer or "").startswith("https://"):
        yield "issuer: --dev signs for every caller, so never as an https issuer: leave it out"


def _problems_of_limits(file: File) -> Iterator[str]:
    limits = file.limits
    if limits.token_bytes + BESIDE_TOKEN > limits.message_bytes:
        yield (
            f"limits.token_bytes: such a token does not fit into limits.message_bytes ({limits.message_bytes}): set "
            f"limits.message_bytes to {limits.token_bytes + BESIDE_TOKEN} at least"
        )
    audit = file.audit
    for key, value, least in (
        ("exchange_events", audit.exchange_events, SHARD_EVENTS), ("exchange_bytes", audit.exchange_bytes, SHARD_BYTES)
    ):  # fmt: skip
        if value < audit.shards * least:
            yield (
                f"audit.{key}: each of {audit.shards} shards needs room for {least}: set it to {audit.shards * least} "
                "at least, or audit.shards to less"
            )


def _judge_providers(file: File, base: Path, issuer: str, proxy: Proxy | None) -> dict[str, Judged]:
    return {
        name: judge_provider(
            name, {key: _at(base, key, value) for key, value in table.items()}, own_issuer=issuer, proxy=proxy
        )
        for name, table in file.providers.items()
    }


def _at(base: Path, key: str, value: object) -> object:
    """Return a value of a provider's table; if it names files, relative paths begin at ``base``."""
    if (
        key == "signals"
        and isinstance(value, dict)
        and isinstance(value.get("token_file"), str)
        and value["token_file"]
    ):
        return value | {"token_file": str(base / value["token_file"])}
    if key == "header_files" and isinstance(value, dict):
        return {name: str(base / path) if isinstance(path, str) and path else path for name, path in value.items()}
    return str(base / value) if key in _PROVIDER_FILES and isinstance(value, str) and value else value


def _problems_of_providers(judged: Mapping[str, Judged], issuer: str, own_trust_domain: str | None) -> Iterator[str]:
    before: list[Provider] = []
    for name, outcome in judged.items():
        yield from outcome.problems
        if outcome.provider is None:
            continue
        if outcome.provider.trust_domain is not None and outcome.provider.trust_domain == own_trust_domain:
            yield f"{key_path('providers', name)}.trust_domain: is tokenmint's own: its tokens are never a provider's"
        for other in before:
            if not disjoint(outcome.provider, other):
                yield (
                    f"{key_path('providers', name)}: has the issuer of {key_path('providers', other.name)}, and "
                    "nothing distinguishes their tokens: use one provider with all the audiences, or give the two no "
                    "audience in common, or set where = { CLAIM = VALUE } in both, with the same claim and different "
                    "values"
                )
            elif not grants_disjoint(outcome.provider, other, issuer):
                yield (
                    f"{key_path('providers', name)}.token_types: has the grants of {key_path('providers', other.name)} "
                    "with the same issuer. The audience of every ID-JAG and of every jwt_grant is tokenmint's issuer, "
                    "so nothing distinguishes theirs: let one of the two have them, and none its issuer as an "
                    "audience, or set where = { CLAIM = VALUE } in both, with the same claim and different values"
                )
        if mistakes_grants(outcome.provider, issuer):
            yield (
                f"{key_path('providers', name)}.token_types: has jwt_grant and other kinds, and tokenmint's issuer is "
                "one of its audiences, so nothing tells its grants from its other tokens: give the others another "
                "audience, or leave jwt_grant out"
            )
        before.append(outcome.provider)


def _problems_of_grants(file: File, judged: Mapping[str, Judged]) -> Iterator[str]:
    for kind in ("id_jag", "jwt_grant"):
        draft = OF_TYPE[TOKEN_TYPES[kind]]
        for name, outcome in judged.items():
            named = outcome.provider is not None and TOKEN_TYPES[kind] in outcome.provider.token_types
            if named and draft not in file.oauth.drafts:
                yield f"{key_path('providers', name)}.token_types: {kind} {needed(draft)}"


def _problems_of_policy(
    audiences: Mapping[str, Audience], issuer: str, judged: Mapping[str, Judged]
) -> tuple[str, ...]:
    conditions = {name: outcome.condition for name, outcome in judged.items() if outcome.condition is not None}
    try:
        Policy(audiences, issuer, conditions, {name: outcome.claims for name, outcome in judged.items()})
    except ConfigurationError as error:
        return error.problems
    return ()


def _problems_of_signers(file: File, base: Path) -> Iterator[str]:
    for table, extra in _EXTRAS.items():
        if getattr(file.keys, table) is not None and not extras.is_installed(extra):
            yield f"keys.{table}: {extras.missing(extra)}"
    if file.keys.pkcs11 is not None:
        module = base / file.keys.pkcs11.module
        try:
            read_bytes(module, most=1024**3)
        except OSError as error:
            yield f"keys.pkcs11.module: {shown(module)} can't be read ({error.strerror})"
    kms = file.keys.aws_kms
    if kms is not None and kms.endpoint_url is not None:
        try:
            url = HttpUrl.parse(kms.endpoint_url)
        except BadUrl:
            return  # config/keys.py reports it
        if url.scheme == "http" and not url.is_loopback:
            yield "keys.aws_kms.endpoint_url: expected https (http on loopback only)"


def _providers(judged: Mapping[str, Judged]) -> dict[str, Provider]:
    return {name: done.provider for name, done in judged.items() if done.provider is not None}


def _warnings(file: File, base: Path, audiences: Mapping[str, Audience], judged: Mapping[str, Judged]) -> Iterator[str]:
    yield from uncompared_audiences(audiences, _providers(judged))
    names: Iterable[str | None] = (file.keys.encryption_key_file, *file.keys.other_encryption_key_files)
    for name in filter(None, names):
        path = base / name
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            continue  # reported as a problem
        if mode & 0o077:
            key = "encryption_key_file" if name == file.keys.encryption_key_file else "other_encryption_key_files"
            yield (
                f"keys.{key}: {shown(path)} is open to other users than its owner (mode {mode & 0o777:o}), and it "
                f"opens every signing key: chmod 600 {path.name}"
            )


def _unused_keys(judged: Mapping[str, Judged], assertions: Mapping[str, Provider]) -> Iterator[str]:
    for section, made in (("providers", _providers(judged)), ("clients", assertions)):
        for name, provider in made.items():
            source = provider.key_source
            key = "jwks" if source.file is None else SETTING
            skipped = () if source.is_fetched else at_hand(source).skipped
            yield from (f"{key_path(section, name, key)}: {reason}" for reason in skipped[:MAX_UNUSED])


def _on_loopback(text: str) -> bool:
    try:
        return Address.parse(text).is_loopback
    except ValueError:
        return False
