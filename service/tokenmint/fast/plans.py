"""Plans: all parts of an exchange except its token, decided once by the full way's own functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import orjson

from tokenmint.admission.rate_limit import Buckets
from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.errors import TokenmintError
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.telemetry import json_text
from tokenmint.exchange.exchange import TokenExchange
from tokenmint.formats.format import Kit
from tokenmint.formats.jwt import claims_of, signing_input
from tokenmint.model.policy import Audience, Binding, Client, ExchangeRequest, TokenGrant
from tokenmint.model.profile import Profile
from tokenmint.model.tokens import GRANTS, VerifiedToken
from tokenmint.policy.mapping import Source

LONGEST: Final = 4096  # bytes of a request without its token, for which a plan is made
ENTRIES: Final = 1024  # plans
SIZE: Final = 8 * 1024 * 1024  # bytes of all plans
LARGEST: Final = 128 * 1024  # bytes of one
PLAN: Final = 2048  # bytes of a plan beyond its texts
TARGET: Final = 2048  # bytes of each of its tokens beyond its texts
_FIXED: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id"})
_EACH_TIME: Final = frozenset({"sub", "exp", "iat", "nbf", "jti"})

Template = tuple[tuple[bytes, Source], ...]
"""Claims that come from the profile: each begins with the bytes before its value."""
Templates = tuple[Template, ...]
"""Those of an exchange, each once."""


@dataclass(slots=True)
class Target:
    """A token that an exchange mints."""

    grant: TokenGrant
    """The decision without a subject, at second 0: scopes, lifetime, kind and format of the token."""
    signer: int
    """The place of its signer among those of the plan."""
    claims: bytes
    """The minted claims that never change, as JSON up to the value of `sub`."""
    of_provider: tuple[bytes, ...]
    """Claims with the provider's name as their value: the bytes before each value."""
    of_token: tuple[tuple[bytes, tuple[str, ...]], ...]
    """Claims from the subject token: the bytes before each value, and its path."""
    of_profile: int
    """The place of its claims from the profile among the plan's templates."""
    audience: Audience
    request: ExchangeRequest
    """The request for it, without the subject token."""
    computed: bool
    """Whether CEL decides on it, or computes its claims: then ``claims`` and the three after it are not used."""
    second: int = -1
    """The second of ``times``."""
    times: bytes = b""
    """The minted claims `exp`, `iat`, `nbf`, and `jti` up to its value."""
    header: bytes = b""
    """The first segment of the minted token, with its dot, for the key ``key_id``."""
    key_id: str = ""
    answer: object = None
    """The transport's own part."""


@dataclass(slots=True)
class Plan:
    """An exchange of one token for one or, in a batch, several that one client requests, without its token."""

    client: Client
    buckets: Buckets
    """The rate limits of the client's calls."""
    cost: int
    """The number of calls that it counts for (``access.Row.cost``)."""
    subject_token_type: str
    providers: frozenset[str]
    """Those whose tokens are exchanged for every target."""
    kit: Kit
    signing: tuple[TokenGrant, ...]
    """A grant for each algorithm of the minted tokens."""
    targets: tuple[Target, ...]
    """The minted tokens, in their order."""
    templates: Templates
    audit: bytes
    """The audit event, as JSON up to the value of `token_sha256`."""
    audit_end: bytes
    """Its end, after the minted tokens."""
    audiences: tuple[str, ...]
    """The audience of each minted token, as the metrics' label."""


Read = Callable[[bytes], Sequence[ExchangeRequest]]
"""Reads a request without its token. Returns one for each minted token, none if the request is not plain."""


class Plans:
    """Makes plans for one configuration and one method, and caches them.

    Args:
        exchange: the full way, whose functions decide.
        method: the method's name in audit events.
        read: reads a request without its token.
        buckets_of: returns the rate limits of a client's calls.
        batch: whether the method mints several tokens, of which its audit events have lists.
    """

    def __init__(
        self,
        exchange: TokenExchange,
        method: str,
        read: Read,
        buckets_of: Callable[[Client], Buckets],
        *,
        batch: bool = False,
    ) -> None:
        self._exchange = exchange
        self._buckets_of = buckets_of
        self._method = method
        self._read = read
        self._batch = batch
        self._plans: Remembered[tuple[str, bytes], Plan | None] = Remembered(
            entries=ENTRIES, size=SIZE, largest=LARGEST
        )
        self._unconditional = exchange.policy.without_expressions()
        self._templates: dict[Template, Template] = {}  # one object for each: comparing them is cheap

    def __len__(self) -> int:
        return len(self._plans)

    def of(self, client: Client, rest: bytes) -> Plan | None:
        """Return the plan for a request of ``client``; None if it has none. Both results are cached."""
        key = client.client_id, rest
        if (plan := self._plans.find(key)) is not None:
            return plan
        if key in self._plans or len(rest) > LONGEST:
            return None
        requests = self._read(rest)
        if not requests:  # it has members that differ between calls
            return None
        plan = self._made(client, requests)
        self._plans.remember(key, plan, PLAN + 2 * len(rest) + (_size(plan) if plan is not None else 0))
        return plan

    def _made(self, client: Client, requests: Sequence[ExchangeRequest]) -> Plan | None:
        """Decide with the full way's functions; None if any of the tokens can't be minted, or not in a plain way."""
        policy = self._exchange.policy
        try:  # Gate's one and batch
            requests = [policy.completed(client, request) for request in requests]
        except TokenmintError:
            return None
        decided = []
        for request in requests:
            one = self._decide(client, request)
            if one is None:
                return None
            decided.append(one)
        signing = {one.grant.algorithm: one.grant for one in decided}
        algorithms = tuple(signing)
        templates = tuple(dict.fromkeys(self._templates.setdefault(*(one.claims.of_profile,) * 2) for one in decided))
        audiences = [clipped(request.audience, LONG) for request in requests]
        event = {
            "kind": "exchange",
            "method": self._method,
            "outcome": "done",
            "caller": client.client_id,
            "audience": audiences if self._batch else audiences[0],
        }
        return Plan(
            client=client,
            buckets=self._buckets_of(client),
            cost=len(decided),
            subject_token_type=requests[0].subject_token_type,
            providers=frozenset.intersection(*(one.audience.providers for one in decided)),
            kit=decided[0].kit,
            signing=tuple(signing.values()),
            targets=tuple(
                Target(
                    grant=one.grant,
                    signer=algorithms.index(one.grant.algorithm),
                    claims=one.claims.always + b',"sub":',
                    of_provider=one.claims.of_provider,
                    of_token=one.claims.of_token,
                    of_profile=templates.index(one.claims.of_profile),
                    audience=one.audience,
                    request=one.request,
                    computed=policy.computes(one.audience.name),
                )
                for one in decided
            ),
            templates=templates,
            audit=json_text(event)[:-1].encode() + b',"token_sha256":"',
            audit_end=b'],"refused":[]' if self._batch else b"]",
            audiences=tuple(one.grant.audience for one in decided),
        )

    def _decide(self, client: Client, request: ExchangeRequest) -> "_Decided | None":
        """Decide about one token (``Policy.admit``, ``Policy.decide``, ``claims_of``)."""
        if client.anonymous or not _is_plain(request):
            return None
        policy = self._exchange.policy
        try:
            audience = policy.admit(client, request)
            if policy.computes(audience.name):  # all but that here, and that with each token
                policy = self._unconditional
            sources = policy.plain_sources(audience.name)
            if sources is None or audience.single_use:
                return None
            grant = policy.decide(request, client, audience, ANY_TOKEN, ANY_PROFILE, now=0)
        except TokenmintError:
            return None
        kit = self._exchange.minter.plain_kit(grant)
        if kit is None or grant.binding:
            return None
        claims = _claims(client, grant, kit, sources)
        return _Decided(request, audience, grant, kit, claims) if claims is not None else None


def _size(plan: Plan) -> int:
    return 4 * len(plan.audit) + sum(TARGET + 4 * len(target.claims) for target in plan.targets)


class _Decided(NamedTuple):
    """The decision about one token."""

    request: ExchangeRequest
    audience: Audience
    grant: TokenGrant
    kit: Kit
    claims: "_Claims"


class _Claims(NamedTuple):
    """The minted claims of a plan, by the source of their values."""

    always: bytes
    of_provider: tuple[bytes, ...]
    of_token: tuple[tuple[bytes, tuple[str, ...]], ...]
    of_profile: Template


def _claims(client: Client, grant: TokenGrant, kit: Kit, sources: Sequence[tuple[str, Source]]) -> _Claims | None:
    """Split ``claims_of`` and ``mapping.evaluate`` into parts; None if a claim depends on more than these parts."""
    fixed = claims_of(replace(grant, claims={}), issuer=kit.issuer, token_id="")
    if fixed.keys() - {"scope"} != _FIXED or len({name for name, _ in sources}) < len(sources):
        return None
    always = orjson.dumps({name: value for name, value in fixed.items() if name not in _EACH_TIME})[:-1]
    of_provider: list[bytes] = []
    of_token: list[tuple[bytes, tuple[str, ...]]] = []
    of_profile: list[tuple[bytes, Source]] = []
    for name, source in sources:
        before = b"," + orjson.dumps(name) + b":"
        if source.literal is not None:
            always += before + orjson.dumps(source.literal)
        elif source.path[0] == "client":
            always += before + orjson.dumps(client.client_id)
        elif source.path[0] == "provider":
            of_provider.append(before)
        elif source.path[0] == "assertion":
            of_token.append((before, source.path[1:]))
        elif source.path[0] == "profile":
            of_profile.append((before, source))
        else:
            return None
    return _Claims(always, tuple(of_provider), tuple(of_token), tuple(of_profile))


ANY_TOKEN: Final = VerifiedToken("", "", "", "", {}, None, 0.0, "", "", single_use=False)
"""A token without content, for functions whose result does not depend on the token."""
ANY_PROFILE: Final = Profile("")
"""A profile without content."""


def _is_plain(request: ExchangeRequest) -> bool:
    """Return whether nothing in a request has to be proved, consumed or bound at each call."""
    return (
        request.subject_token_type not in GRANTS  # used once, by one client
        and request.nonce is None
        and request.request_id is None
        and request.actor_token is None
        and request.actor_token_type is None
        and request.binding == request.possession == Binding()
    )


def header_of(target: Target, kit: Kit, key_id: str) -> bytes:
    """Return the first segment of a token for the key ``key_id``, with its dot (``formats.jwt.signing_input``)."""
    unsigned = signing_input(target.grant, issuer=kit.issuer, key_id=key_id, token_id="")
    return unsigned.partition(b".")[0] + b"."
