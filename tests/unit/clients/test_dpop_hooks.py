"""How the HTTP and gRPC hooks of the Python client present tokens, to real services over real HTTP (RFC 9449)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import httpx
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route
from tests.bearer_cases import AUDIENCE, ISSUER, Keys
from tests.issuer import Issuer, ec_key, serving
from tests.unit.clients.test_middleware import uvicorn_of

from tokenmint_client import AsyncVerifier, DpopKey, ProtectedResource, Token, TokenSource
from tokenmint_client.asgi import TokenMiddleware
from tokenmint_client.dpop_key import MOST_NONCES, Presenter
from tokenmint_client.grpc_auth import TokenInterceptor
from tokenmint_client.httpx_auth import TokenAuth
from tokenmint_client.requests_auth import TokenAuth as RequestsTokenAuth

pytestmark = pytest.mark.slow

NONCE_KEY: Final = bytes(32)


@dataclass
class Minting:
    """A client whose tokens have a key where one is asked for, and the type that the test says."""

    token_type: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def exchange(self, _: str, audience: str, **options: Any) -> Token:
        self.asked.append(options)
        thumbprint = options.get("dpop_jkt", "")
        signer = Issuer(url=ISSUER, key=ec_key(1), key_id="k1", algorithm="ES256")
        claims = {"sub": "ada", "aud": audience, "scope": "read", "exp": int(time.time()) + 600}
        bound = {"cnf": {"jkt": thumbprint}} if thumbprint else {}
        value = signer.token(time.time(), {"typ": "at+jwt"}, **claims, **bound)
        token_type = self.token_type or ("DPoP" if thumbprint else "Bearer")
        return Token(value, time.time() + 600, "ada", (), "t", "k1", token_type)


@dataclass
class Service:
    """A service that takes tokens with proofs, which need its nonce, and what it was sent."""

    base: str = ""
    application: Any = None
    seen: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode() for name, value in scope["headers"]}
        self.seen.append((headers.get(b"authorization", "").partition(" ")[0], headers.get(b"dpop", "")))
        await self.application(scope, receive, send)


@contextmanager
def service(keys: Keys, *, nonces: bool = True) -> Iterator[Service]:
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.state.token.subject} {(await request.body()).decode()}")

    async def away(request: Request) -> RedirectResponse:
        return RedirectResponse(request.query_params["to"], 307)

    made = Service()
    with uvicorn_of(made) as address:
        made.base = f"http://{address}"
        resource = ProtectedResource(made.base, [ISSUER], nonce_key=NONCE_KEY if nonces else None)
        routes = [Route("/echo", echo, methods=["GET", "POST"]), Route("/away", away, methods=["GET", "POST"])]
        verifier = AsyncVerifier(ISSUER, AUDIENCE, jwks_url=keys.url)
        made.application = TokenMiddleware(Starlette(routes=routes), verifier, resource=resource)
        yield made


@pytest.fixture
def keys() -> Iterator[Keys]:
    with serving(Issuer()) as issuer:
        yield Keys(issuer)


Post = Callable[[str, Any, Any], tuple[int, str]]


def by_httpx(url: str, client: Any, key: DpopKey | None, content: Any = b"order") -> tuple[int, str]:
    auth = TokenAuth(TokenSource(client), "subject", AUDIENCE, dpop=key)
    with httpx.Client(auth=auth, follow_redirects=True) as http:
        answer = http.post(url, content=content)
    return answer.status_code, answer.text


async def by_async_httpx(url: str, client: Any, key: DpopKey | None) -> tuple[int, str]:
    auth = TokenAuth(TokenSource(client), "subject", AUDIENCE, dpop=key)
    async with httpx.AsyncClient(auth=auth) as http:
        answer = await http.post(url, content=b"order")
    return answer.status_code, answer.text


def by_requests(url: str, client: Any, key: DpopKey | None, content: Any = b"order") -> tuple[int, str]:
    answer = requests.post(
        url, data=content, auth=RequestsTokenAuth(TokenSource(client), "s", AUDIENCE, dpop=key), timeout=20
    )
    return answer.status_code, answer.text


HOOKS: Final[dict[str, Any]] = {"httpx": by_httpx, "requests": by_requests}


@pytest.mark.parametrize("hook", HOOKS)
def test_rfc9449_section_7_1_a_bound_token_has_its_scheme_and_a_proof(hook: str, keys: Keys) -> None:
    client = Minting()
    key = DpopKey()
    with service(keys) as made:
        assert HOOKS[hook](f"{made.base}/echo?a=1#b", client, key) == (200, "ada order")
    schemes = [scheme for scheme, _ in made.seen]
    assert schemes == ["DPoP", "DPoP"]  # section 9: the first proof had no nonce
    assert len({proof for _, proof in made.seen}) == 2
    assert client.asked[0]["dpop_jkt"] == key.thumbprint


async def test_rfc9449_section_7_1_likewise_without_threads(keys: Keys) -> None:
    with service(keys) as made:
        assert await by_async_httpx(f"{made.base}/echo", Minting(), DpopKey()) == (200, "ada order")
        assert await by_async_httpx(f"{made.base}/echo", Minting(), None) == (200, "ada order")
    assert [scheme for scheme, _ in made.seen] == ["DPoP", "DPoP", "Bearer"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_bearer_token_has_no_proof(hook: str, keys: Keys) -> None:
    with service(keys) as made:
        assert HOOKS[hook](f"{made.base}/echo", Minting(), None) == (200, "ada order")
    assert made.seen == [("Bearer", "")]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("token_type", "key"), [("DPoP", None), ("N_A", None), ("N_A", DpopKey())])
def test_a_token_that_can_not_be_presented_is_not_sent(
    hook: str, token_type: str, key: DpopKey | None, keys: Keys
) -> None:
    with service(keys) as made, pytest.raises(ValueError, match=f"is presented as {token_type}, not as Bearer"):
        HOOKS[hook](f"{made.base}/echo", Minting(token_type), key)
    assert made.seen == []


def test_rfc9449_section_9_a_nonce_is_used_for_the_next_requests(keys: Keys) -> None:
    auth = TokenAuth(TokenSource(Minting()), "subject", AUDIENCE, dpop=DpopKey())  # type: ignore[arg-type]
    with service(keys) as made, httpx.Client(auth=auth) as http:
        for _ in range(3):
            assert http.get(f"{made.base}/echo").status_code == 200
    assert len(made.seen) == 4


@pytest.mark.parametrize("hook", HOOKS)
def test_a_body_that_can_be_read_once_is_not_sent_twice(hook: str, keys: Keys) -> None:
    with service(keys) as made:
        assert HOOKS[hook](f"{made.base}/echo", Minting(), DpopKey(), iter([b"order"]))[0] == 401
    assert len(made.seen) == 1


@pytest.mark.parametrize("hook", HOOKS)
def test_a_service_that_a_redirect_leads_to_gets_no_token(hook: str, keys: Keys) -> None:
    with service(keys, nonces=False) as first, service(keys) as other:
        HOOKS[hook](f"{first.base}/away?to={other.base.replace('127.0.0.1', 'localhost')}/echo", Minting(), DpopKey())
    assert first.seen[0][0] == "DPoP"
    assert {scheme for scheme, _ in other.seen} == {""}


def test_a_grpc_call_has_no_proof_so_a_bound_token_is_not_sent() -> None:
    interceptor = TokenInterceptor(TokenSource(Minting("DPoP")), "subject", AUDIENCE)  # type: ignore[arg-type]
    with (
        grpc.intercept_channel(grpc.insecure_channel("127.0.0.1:9"), interceptor) as channel,
        pytest.raises(ValueError, match="is presented as DPoP"),
    ):
        channel.unary_unary("/a.B/C")(b"")  # type: ignore[arg-type]  # bytes


def test_nonces_are_bounded() -> None:
    presenter = Presenter(AUDIENCE, DpopKey())
    wanted = 'DPoP error="use_dpop_nonce"'
    for number in range(MOST_NONCES + 5):
        assert presenter.has_to_repeat(f"https://h{number}.example/", 401, wanted, "n")
    assert len(presenter._nonces) == MOST_NONCES
    assert not presenter.has_to_repeat("https://h104.example/a", 401, wanted, "n")  # it was in the proof
    assert not presenter.has_to_repeat("https://a.example/", 401, wanted, "n" * 1025)
    assert not presenter.has_to_repeat("https://b.example/", 401, 'DPoP error="invalid_token"', "n")
    assert not presenter.has_to_repeat("https://c.example/", 200, "", "n")


def test_a_key_is_for_p_256() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert DpopKey(key).thumbprint == DpopKey(key).thumbprint != DpopKey().thumbprint
    with pytest.raises(ValueError, match="P-256"):
        DpopKey(ec.generate_private_key(ec.SECP384R1()))
