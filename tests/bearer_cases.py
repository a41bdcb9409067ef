"""The cases of tests/clients/bearer.json, for any service that a middleware of the Python client protects."""

import http.client
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.issuer import Issuer, ec_key, jwk

from tokenmint_client import Client, PublicClient, Revocations
from tokenmint_client.v1 import revocation_service_pb2 as pb

DOCUMENT: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("clients").joinpath("bearer.json").read_text())
CASES: Final[list[dict[str, Any]]] = DOCUMENT["cases"]
REQUIRES: Final[list[str]] = DOCUMENT["requires"]
ISSUER: Final = "https://tokens.example"
AUDIENCE: Final = "https://orders.example"
_KEYS: Final = {"k1": 1, "revoked": 2, "unknown": 3}
_CLAIMS: Final[dict[str, dict[str, Any]]] = {
    "wrong audience": {"aud": "https://others.example"},
    "wrong issuer": {"iss": "https://others.example"},
    "missing scope": {"scope": "write"},
}


def published(*names: str) -> bytes:
    """Return the key set with these keys."""
    return json.dumps({"keys": [jwk(ec_key(_KEYS[name]), kid=name, alg="ES256", use="sig") for name in names]}).encode()


@dataclass
class Keys:
    """The issuer of a case, and its clock."""

    issuer: Issuer
    later: float = 0.0
    sent: list[str] = field(default_factory=list)
    """All tokens that were sent."""

    def __post_init__(self) -> None:
        self.issuer.headers = {"Cache-Control": "max-age=60"}
        self.issuer.documents["/jwks.json"] = published("k1", "revoked")

    @property
    def url(self) -> str:
        """The address of the key set."""
        return f"{self.issuer.url}/jwks.json"

    def revocations(self, case: dict[str, Any]) -> Revocations | None:
        """Return the revocations of a case: none, or those of a minute ago, which are too old."""
        if case.get("revocations") != "unavailable":
            return None
        old = Revocations(Client("127.0.0.1:9", PublicClient("api"), plaintext=True), AUDIENCE)
        message = pb.WatchRevocationsResponse(position="0.1-0")
        message.age.seconds = 60
        old.take(message)
        return old

    def clock(self) -> float:
        """Unix seconds."""
        return time.time() + self.later

    def token(self, kind: str) -> str:
        """Return a token of a kind that the table names."""
        if kind == "malformed":
            return "not-a-token"
        now = time.time()
        name = {"revoked key": "revoked", "unknown key": "unknown"}.get(kind, "k1")
        signer = Issuer(url=ISSUER, key=ec_key(_KEYS[name]), key_id=name, algorithm="ES256")
        claims = {"sub": "ada", "aud": AUDIENCE, "scope": "read", "exp": int(now) + (-60 if kind == "expired" else 600)}
        return signer.token(now, {"typ": "at+jwt"}, **{**claims, **_CLAIMS.get(kind, {})})


@dataclass(frozen=True)
class Answer:
    """The part of an answer that the table speaks of."""

    status: int
    challenge: str
    retry_after: str
    body: str


def get(base: str, headers: list[str], query: str = "") -> Answer:
    """Send one request with these ``Authorization`` headers."""
    connection = http.client.HTTPConnection(base, timeout=20)
    try:
        connection.putrequest("GET", f"/{query}")
        for value in headers:
            connection.putheader("Authorization", value)
        connection.endheaders()
        answer = connection.getresponse()
        return Answer(
            answer.status, answer.getheader("WWW-Authenticate", ""), answer.getheader("Retry-After", ""),
            answer.read().decode(),
        )  # fmt: skip
    finally:
        connection.close()


def play(case: dict[str, Any], base: str, keys: Keys) -> None:
    """Send the request of a case, and compare the answer with the table's."""
    token = keys.token(case["token"]) if case["token"] else ""
    keys.sent.append(token)
    header = f"{case.get('scheme', 'Bearer')} {token}"
    if case.get("keys") == "unavailable":
        keys.issuer.status = 503
    if case["token"] == "revoked key":
        assert get(base, [header]).status == 200
        keys.issuer.documents["/jwks.json"] = published("k1")
        keys.later += 61  # the set's age
    in_query = case.get("place") == "query"
    headers = [header] * case.get("times", 1) if token and not in_query else []
    judge(case, get(base, headers, f"?access_token={token}" if in_query else ""), token)


def judge(case: dict[str, Any], answer: Answer, token: str) -> None:
    """Compare an answer with the table's (RFC 6750 section 3)."""
    assert answer.status == case["status"], answer
    if case["status"] == 200:
        assert answer.body == "ada"
        return
    assert not token or token not in answer.body + answer.challenge
    if case["status"] == 503:
        assert not answer.challenge
        assert int(answer.retry_after) > 0
        assert "127.0.0.1" not in answer.body  # the address of the key set is for this service's people
    elif case["error"] == "":
        assert answer.challenge == "Bearer"  # RFC 6750 section 3.1: no error code where no token was sent
    else:
        members = dict(re.findall(r'(\w+)="([^"]*)"', answer.challenge.removeprefix("Bearer ")))
        assert members.pop("error") == case["error"]
        assert re.fullmatch(r"[ !#-\[\]-~]+", members.pop("error_description"))
        assert members == ({"scope": " ".join(REQUIRES)} if case["status"] == 403 else {})
