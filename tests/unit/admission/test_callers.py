"""Callers: every way to be proved, and everything that is not one."""

from typing import Any

import jwt
import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.tls import authority
from tests.unit.verification.fetching import FakeFetch

from tokenmint.admission.callers import Callers, ClientAuthenticator, Credentials, Operator, Role
from tokenmint.admission.named_credentials import credentials_of
from tokenmint.base.errors import CallerUnauthenticated, StoreUnavailable
from tokenmint.config.providers import provider_from_table
from tokenmint.config.settings import client_provider
from tokenmint.model.policy import Client
from tokenmint.model.secret import Secret
from tokenmint.policy.grant import Policy
from tokenmint.rpc import credentials
from tokenmint.storage.redis import Store
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import Provider
from tokenmint.verification.replay import ReplayGuard
from tokenmint.verification.verifier import Verifier

US = "https://tokens.example"
PLATFORM = Issuer(url="https://k8s.example")
OLD, NEW = Secret("tms_old"), Secret("tms_new")
SPIFFE = "spiffe://td.example/ns/shop/sa/web"
CLIENTS = {
    "secret": Client("secret", (OLD.fingerprint(), NEW.fingerprint())),
    "cert": Client("cert", certificates=frozenset({SPIFFE, "dns:web.internal"})),
    "keys": Client("keys"),
    "others-keys": Client("others-keys"),
    "pod": Client("pod", workloads=frozenset({("k8s", "1842")})),
    "spa": Client("spa", public=True),
}
OPERATORS = {
    "root": Operator("root", (NEW.fingerprint(),), frozenset(Role)),
    "machine": Operator("machine", (), frozenset({Role.VIEWER}), frozenset({"subject:CN=machine"})),
}


def verifier(clock: FakeClock, *providers: Provider) -> Verifier:
    sets = KeySets({item.name: item.key_source for item in providers}, fetch=FakeFetch(), clock=clock)
    return Verifier({item.name: item for item in providers}, sets, own_issuer=US)


def keys(key: Any) -> dict[str, object]:
    import json

    return {"jwks": json.dumps({"keys": [jwk(key, kid="c1")]})}


@pytest.fixture
def proof(store: Store, clock: FakeClock) -> ClientAuthenticator:
    platform = provider_from_table(
        "k8s", {"issuer": PLATFORM.url, "audiences": ["app"], "jwks": PLATFORM.jwks().decode()}, own_issuer=US
    )
    own = [
        client_provider("keys", keys(ec_key(1)), US, None),
        client_provider("others-keys", keys(ec_key(2)), US, None),
    ]
    return ClientAuthenticator(
        Callers(CLIENTS, OPERATORS), verifier(clock, *own), verifier(clock, platform), ReplayGuard(store), clock,
        admits=Policy({}, US).admits_workload,
    )  # fmt: skip


async def refused(proof: ClientAuthenticator, presented: Credentials) -> str:
    with pytest.raises(CallerUnauthenticated) as error:
        await proof.client(presented)
    assert error.value.message == CallerUnauthenticated.summary
    return error.value.detail


@pytest.mark.parametrize("secret", [OLD, NEW])
async def test_every_secret_of_a_client_is_valid(proof: ClientAuthenticator, secret: Secret) -> None:
    assert (await proof.client(Credentials("secret", secret))).client_id == "secret"


@pytest.mark.parametrize(
    "presented",
    [
        Credentials(),
        Credentials("secret"),
        Credentials(None, NEW),
        Credentials("secret", Secret("")),
        Credentials("secret", Secret("tms_neu")),
        Credentials("unknown", NEW),
        Credentials("", NEW),
        Credentials("cert", Secret("")),
        Credentials("cert"),
        Credentials("keys", NEW),
        Credentials("root", NEW),
        Credentials("secret", NEW, assertion=Secret("x")),
        Credentials("secret", NEW, workload=Secret("x")),
    ],
)
async def test_nobody_else_comes_in(proof: ClientAuthenticator, presented: Credentials) -> None:
    await refused(proof, presented)


async def test_the_log_tells_which_of_id_and_secret_is_wrong(proof: ClientAuthenticator) -> None:
    assert await refused(proof, Credentials("secret", Secret("tms_x"))) == "the secret of the client 'secret' is wrong"
    assert await refused(proof, Credentials("unknown", NEW)) == "there is no client 'unknown'"
    assert await refused(proof, Credentials(None, NEW)) == "no credentials"
    for identifier, cause in (
        ("root", "the secret of the operator 'root' is wrong"),
        ("x", "there is no operator 'x'"),
    ):
        with pytest.raises(CallerUnauthenticated) as error:
            proof.callers.operator(Credentials(identifier, Secret("tms_x")))
        assert error.value.detail == cause


async def test_secrets_are_compared_in_constant_time_with_every_hash(
    proof: ClientAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("tokenmint.admission.callers.hmac.compare_digest", compare)
    assert await proof.client(Credentials("secret", OLD))
    assert compared == [(OLD.fingerprint(), OLD.fingerprint()), (OLD.fingerprint(), NEW.fingerprint())]
    compared.clear()
    await refused(proof, Credentials("unknown", OLD))
    assert len(compared) == 1  # a client that there is not is compared with, too


def test_a_call_has_one_certificate() -> None:
    ca = authority()
    pems = [ca.issue("x", name)[0] for name in (SPIFFE, "web.internal")]
    one = credentials.of_connection((), {"x509_pem_cert": pems[:1]})
    assert one is not None
    assert credentials_of((), one).certificates == ("subject:CN=x", SPIFFE)
    assert credentials.of_connection((), {"x509_pem_cert": pems}) is None
    assert credentials.of_connection((), {"x509_common_name": [b"web"]}) is None
    assert credentials_of((), None).certificates == ()


async def test_certificates(proof: ClientAuthenticator) -> None:
    for identities in ((SPIFFE,), ("subject:CN=x", "dns:web.internal")):
        assert (await proof.client(Credentials(certificates=identities))).client_id == "cert"
        assert (await proof.client(Credentials("cert", certificates=identities))).client_id == "cert"
        await refused(proof, Credentials("secret", certificates=identities))
    for identities in (("spiffe://td.example/ns/shop/sa/web2",), ("dns:WEB.internal",), ("subject:CN=web.internal",)):
        await refused(proof, Credentials(certificates=identities))
    assert "belongs to 'cert'" in await refused(proof, Credentials("secret", NEW, certificates=(SPIFFE,)))
    assert await proof.client(Credentials("secret", NEW, certificates=("dns:somebody.else",)))
    assert await proof.client(Credentials("spa", certificates=("dns:somebody.else",)))
    await refused(proof, Credentials("spa", certificates=(SPIFFE,)))


def assertion(clock: FakeClock, key: Any = None, client: str = "keys", **changes: Any) -> Credentials:
    now = int(clock.now())
    claims = {"iss": client, "sub": client, "aud": US, "iat": now, "exp": now + 60, "jti": "j1", **changes}
    header = {"kid": "c1", **changes.pop("header", {})}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None and name != "header"}
    token = jwt.encode(claims, key or ec_key(1), "ES256", headers=header)
    return Credentials(assertion=Secret(token))


async def test_an_assertion_may_say_in_its_typ_that_it_is_one_and_nothing_else_may(
    proof: ClientAuthenticator, clock: FakeClock
) -> None:
    for number, typ in enumerate(("client-authentication+jwt", "application/Client-Authentication+JWT", "JWT")):
        assert await proof.client(assertion(clock, jti=f"t{number}", header={"typ": typ}))
    for typ in ("at+jwt", "client-authentication", "dpop+jwt"):
        assert "UNSUPPORTED_TOKEN_TYPE" in await refused(proof, assertion(clock, jti="t9", header={"typ": typ}))
    workload = PLATFORM.token(clock.now(), headers={"typ": "client-authentication+jwt"})
    assert "UNSUPPORTED_TOKEN_TYPE" in await refused(proof, Credentials(workload=Secret(workload)))


async def test_rfc_7523_an_assertion_of_its_own_proves_a_client_once(
    proof: ClientAuthenticator, clock: FakeClock
) -> None:
    good = assertion(clock)
    assert (await proof.client(good)).client_id == "keys"
    assert "REPLAYED" in await refused(proof, good)
    assert "REPLAYED" in await refused(proof, assertion(clock))  # the same jti again
    assert await proof.client(assertion(clock, jti="j2"))
    assert await proof.client(assertion(clock, jti="j3", exp=int(clock.now()) + 330))
    assert await proof.client(assertion(clock, jti="j4", exp=int(clock.now()) - 29))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://other.example"}, "WRONG_AUDIENCE"),
        ({"aud": None}, "WRONG_AUDIENCE"),
        ({"exp": 1}, "EXPIRED"),
        ({"exp": None}, "CLAIM_REJECTED"),
        ({"exp": 1_800_000_000 + 331}, "lives longer"),
        ({"exp": 1_800_000_000 - 30}, "EXPIRED"),
        ({"aud": [US, "https://other.example"]}, "WRONG_AUDIENCE"),
        ({"sub": None}, "CLAIM_REJECTED"),
        ({"sub": "secret"}, "sub differs from its iss"),
        ({"iss": "secret"}, "UNKNOWN_ISSUER"),
        ({"iss": "others-keys", "sub": "others-keys"}, "BAD_SIGNATURE"),
        ({"jti": None}, "no jti"),
        ({"jti": ""}, "CLAIM_REJECTED"),
        ({"iat": 1_800_000_000 + 120}, "NOT_YET_VALID"),
    ],
)
async def test_rfc_7523_section_3_assertions_that_prove_nothing(
    proof: ClientAuthenticator, clock: FakeClock, changes: dict[str, Any], why: str
) -> None:
    assert why in await refused(proof, assertion(clock, **changes))


async def test_an_assertion_proves_nobody_else_and_needs_the_store(
    proof: ClientAuthenticator, clock: FakeClock
) -> None:
    other = assertion(clock, ec_key(2), "others-keys")
    assert (await proof.client(other)).client_id == "others-keys"
    wrong = Credentials("secret", assertion=assertion(clock, jti="j3").assertion)
    await refused(proof, wrong)
    assert "BAD_SIGNATURE" in await refused(proof, assertion(clock, ec_key(3), jti="j4"))

    async def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable()

    proof._replay.consume = broken  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await proof.client(assertion(clock, jti="j5"))


async def test_a_workloads_token_proves_the_client_that_it_is(proof: ClientAuthenticator, clock: FakeClock) -> None:
    good = Credentials(workload=Secret(PLATFORM.token(clock.now())))
    assert (await proof.client(good)).client_id == "pod"
    assert (await proof.client(good)).client_id == "pod"  # as long as it lives
    for token in (
        PLATFORM.token(clock.now(), sub="1843"),
        PLATFORM.token(clock.now() - 400),
        PLATFORM.token(clock.now(), aud="x"),
        Issuer(url=PLATFORM.url, key=rsa_key(1)).token(clock.now()),
        "x",
    ):
        await refused(proof, Credentials(workload=Secret(token)))


async def test_a_workloads_token_that_may_be_used_once_proves_once(
    proof: ClientAuthenticator, store: Store, clock: FakeClock
) -> None:
    table = {"issuer": PLATFORM.url, "audiences": ["app"], "jwks": PLATFORM.jwks().decode(), "single_use": True}
    platform = provider_from_table("k8s", table, own_issuer=US)
    replay = ReplayGuard(store)
    workloads, admits = verifier(clock, platform), Policy({}, US).admits_workload
    strict = ClientAuthenticator(proof.callers, proof.assertions, workloads, replay, clock, admits=admits)
    good = Credentials(workload=Secret(PLATFORM.token(clock.now(), jti="w")))
    assert (await strict.client(good)).client_id == "pod"
    assert "REPLAYED" in await refused(strict, good)

    async def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable()

    replay.consume = broken  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await strict.client(Credentials(workload=Secret(PLATFORM.token(clock.now(), jti="x"))))


async def test_a_workload_that_its_providers_condition_refuses_is_no_client(
    proof: ClientAuthenticator, store: Store, clock: FakeClock
) -> None:
    policy = Policy({}, US, {"k8s": "assertion.cluster == 'prod'"})
    strict = ClientAuthenticator(
        proof.callers, proof.assertions, proof._workloads, ReplayGuard(store), clock, admits=policy.admits_workload
    )
    for cluster, admitted in (("prod", True), ("test", False), (None, False)):
        presented = Credentials(workload=Secret(PLATFORM.token(clock.now(), cluster=cluster)))
        if admitted:
            assert (await strict.client(presented)).client_id == "pod"
        else:
            assert "condition" in await refused(strict, presented)


async def test_public_and_anonymous_clients(proof: ClientAuthenticator, store: Store, clock: FakeClock) -> None:
    assert (await proof.client(Credentials("spa"))).public
    await refused(proof, Credentials("spa", NEW))
    open_door = ClientAuthenticator(
        Callers(CLIENTS, OPERATORS, allow_anonymous=True),
        proof.assertions,
        proof._workloads,
        ReplayGuard(store),
        clock,
        admits=Policy({}, US).admits_workload,
    )
    assert (await open_door.client(Credentials())).anonymous
    await refused(open_door, Credentials("secret"))
    await refused(open_door, Credentials("secret", Secret("wrong")))


def test_operators() -> None:
    callers = Callers(CLIENTS, OPERATORS, allow_anonymous=True)
    assert callers.operator(Credentials("root", NEW)).operator_id == "root"
    assert callers.operator(Credentials("root", NEW, certificates=("dns:some.host",))).operator_id == "root"
    assert callers.operator(Credentials(certificates=("subject:CN=machine",))).operator_id == "machine"
    for presented in (
        Credentials(),
        Credentials("root"),
        Credentials("root", OLD),
        Credentials("machine", NEW),
        Credentials("secret", NEW),
        Credentials("root", certificates=("subject:CN=machine",)),
        Credentials("root", NEW, certificates=("subject:CN=machine",)),  # the certificate of another operator
        Credentials(certificates=("subject:CN=other",)),
    ):
        with pytest.raises(CallerUnauthenticated):
            callers.operator(presented)
