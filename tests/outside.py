"""Stand-ins for the services outside that the guides name: they check what those document, and nothing more leniently.

Each takes the commands that its guide shows (``aws``, ``az``, ``gcloud``) or answers over HTTP. They fetch discovery
document and key set from the service that the guide runs, as if it were at its issuer.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import jwt
import yaml
from tests import plain_http
from tests.guides import Walk
from tests.http_servers import Handler, running

from tokenmint.config.relying_parties import RelyingParty, entry

ISSUER: Final = "https://tokens.example.com"
SKEW: Final = 60
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYPES: Final = tuple(f"urn:ietf:params:oauth:token-type:{name}" for name in ("jwt", "id_token"))
UNDOCUMENTED: Final = frozenset({"RS256"})
"""The algorithms where none is documented: the one of all examples."""
ACCOUNT, PROJECT = "123456789012", "123456789012"


class Refused(Exception):
    """The service refuses."""


def need(holds: object, what: str) -> None:
    """Refuse, unless something holds."""
    if not holds:
        raise Refused(what)


class Outside:
    """The services, as one walk through a guide configures them."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.providers: dict[str, dict[str, Any]] = {}
        self.roles: dict[str, dict[str, Any]] = {}

    # --- what all of them do

    def document(self, path: str) -> dict[str, Any]:
        """Fetch a document of the issuer."""
        assert self.walk.service is not None
        answer = plain_http.get(f"http://{self.walk.service.listen['http']}{path}")
        need(answer.status_code == 200, f"{path} answers {answer.status_code}")
        found: dict[str, Any] = answer.json()
        return found

    def verified(self, token: str, name: str, issuer: str, audiences: list[str]) -> dict[str, Any]:
        """Return the claims of a token, verified by keys that discovery leads to."""
        party = entry(name)
        need(issuer.startswith("https://"), "the issuer is not https")
        need(party.issuer_port or urlsplit(issuer).port is None, "the issuer has a port")
        need(len(issuer) <= (party.max_issuer or 2048), "the issuer is too long")
        discovery = self.document("/.well-known/openid-configuration")
        need(discovery["issuer"] == issuer, "discovery names another issuer")
        need(discovery["jwks_uri"].startswith(issuer + "/"), "the keys are elsewhere")
        keys = self.document(discovery["jwks_uri"].removeprefix(issuer))["keys"]
        need(0 < sum(key["kty"] == "RSA" for key in keys) + sum(key["kty"] == "EC" for key in keys) <= 100, "keys")
        claims = signed_claims(token, party, {key["kid"]: key for key in keys})
        need(claims["iss"] == issuer, "another issuer")
        need(claims["aud"] in audiences, "another audience")
        return claims

    # --- AWS

    def aws(self, command: list[str]) -> str:
        """`aws iam` and `aws sts`."""
        service, verb, *rest = command
        given = options(rest)
        if (service, verb) == ("iam", "create-open-id-connect-provider"):
            need(given["--url"].startswith("https://") and urlsplit(given["--url"]).port is None, "url")
            self.providers[f"oidc-provider/{urlsplit(given['--url']).netloc}"] = given
            return ""
        if (service, verb) == ("iam", "create-role"):
            self.roles[f"arn:aws:iam::{ACCOUNT}:role/{given['--role-name']}"] = self.file(
                given["--assume-role-policy-document"]
            )
            return ""
        need((service, verb) == ("sts", "assume-role-with-web-identity"), f"no such command: {verb}")
        [statement] = self.roles[given["--role-arn"]]["Statement"]
        need(statement["Action"] == "sts:AssumeRoleWithWebIdentity", "Action")
        arn = statement["Principal"]["Federated"]
        provider = self.providers[arn.removeprefix(f"arn:aws:iam::{ACCOUNT}:")]
        token = (self.walk.directory / given["--web-identity-token"].removeprefix("file://")).read_text().strip()
        claims = self.verified(token, "aws", provider["--url"], [provider["--client-id-list"]])
        host = arn.partition("oidc-provider/")[2]
        for key, value in statement["Condition"]["StringEquals"].items():
            need(key.startswith(host + ":"), f"{key} is not of the provider")
            need(claims[key.removeprefix(host + ":")] == value, f"{key} differs")
        found = {"SubjectFromWebIdentityToken": claims["sub"], "Audience": claims["aud"], "Provider": arn}
        return json.dumps({"Credentials": {"AccessKeyId": "ASIA"}, **found})

    def file(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the reader's."""
        text = (self.walk.directory / name.removeprefix("file://").removeprefix("@")).read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    # --- Google Cloud

    def gcloud(self, command: list[str]) -> str:
        """`gcloud iam workload-identity-pools`."""
        need(command[:2] == ["iam", "workload-identity-pools"], "no such command")
        if command[2] == "create":
            return ""
        need(command[2:4] == ["providers", "create-oidc"], "no such command")
        given = options(command[5:])
        pool = f"locations/{given['--location']}/workloadIdentityPools/{given['--workload-identity-pool']}"
        self.providers[f"//iam.googleapis.com/projects/{PROJECT}/{pool}/providers/{command[4]}"] = given
        return ""

    def google_sts(self, form: dict[str, str]) -> dict[str, Any]:
        """`https://sts.googleapis.com/v1/token`."""
        need(form["grant_type"] == TOKEN_EXCHANGE and form["subject_token_type"] in TYPES, "invalid_request")
        need(form["requested_token_type"] == "urn:ietf:params:oauth:token-type:access_token", "requested_token_type")
        provider = self.providers[form["audience"]]
        allowed = provider.get("--allowed-audiences", "https:" + form["audience"]).split(",")
        claims = self.verified(form["subject_token"], "gcp", provider["--issuer-uri"], allowed)
        need(provider["--attribute-mapping"] == "google.subject=assertion.sub", "attribute mapping")
        return {"access_token": "ya29.federated", "token_type": "Bearer", "principal": claims["sub"]}

    # --- Entra

    def az(self, command: list[str]) -> str:
        """`az ad app federated-credential create`."""
        need(command[:4] == ["ad", "app", "federated-credential", "create"], "no such command")
        given = options(command[4:])
        credential = self.file(given["--parameters"])
        need(len(credential["audiences"]) == 1, "exactly one audience")
        self.providers[given["--id"]] = credential
        return ""

    def entra(self, form: dict[str, str]) -> dict[str, Any]:
        """The token endpoint of a tenant."""
        need(form["grant_type"] == "client_credentials" and form["client_assertion_type"] == BEARER, "invalid_request")
        credential = self.providers[form["client_id"]]
        claims = self.verified(form["client_assertion"], "azure", credential["issuer"], credential["audiences"])
        need(claims["sub"] == credential["subject"], "AADSTS70021: no matching federated identity record")
        return {"access_token": "eyJ0.entra", "token_type": "Bearer"}

    # --- LLM providers

    def claude(self, form: dict[str, str]) -> dict[str, Any]:
        """`https://api.anthropic.com/v1/oauth/token`."""
        issuer, rule = self.file("issuer.json"), self.file("rule.json")
        need(form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type")
        need(form["service_account_id"] == rule["target"]["service_account_id"], "invalid_grant")
        need(issuer["jwks"] == {"type": "discovery"}, "jwks")
        claims = self.verified(form["assertion"], "anthropic", issuer["issuer_url"], [rule["match"]["audience"]])
        need(claims["sub"] == rule["match"]["subject_prefix"], "invalid_grant")
        need(claims["exp"] - claims["iat"] <= issuer.get("max_jwt_lifetime_seconds", 3600), "invalid_grant")
        need(self.providers.setdefault("jti", {}).setdefault(claims["jti"], form) is form, "the jti was used before")
        return {"access_token": "sk-ant-oat01-x", "token_type": "Bearer", "expires_in": rule["token_lifetime_seconds"]}

    def openai(self, form: dict[str, str]) -> dict[str, Any]:
        """`https://auth.openai.com/oauth/token`."""
        provider = self.file("provider.json")
        need(form["grant_type"] == TOKEN_EXCHANGE and form["subject_token_type"] in TYPES, "invalid_request")
        need(provider["type"] == "oidc" and provider["verification"]["type"] == "discovery", "verification")
        claims = self.verified(form["subject_token"], "openai", provider["issuer"], [provider["audience"]])
        need(claims["sub"] == "deployer", "no service account mapping")
        return {"access_token": "x", "token_type": "Bearer"}

    # --- Kubernetes

    def cluster(self, token: str) -> dict[str, Any]:
        """A SelfSubjectReview of an API server that has the reader's configuration."""
        configuration = yaml.safe_load((self.walk.directory / "authentication.yaml").read_text())
        need(configuration["kind"] == "AuthenticationConfiguration", "kind")
        [authenticator] = configuration["jwt"]
        issuer, username = authenticator["issuer"], authenticator["claimMappings"]["username"]
        claims = self.verified(token, "kubernetes", issuer["url"], issuer["audiences"])
        return {"status": {"userInfo": {"username": username["prefix"] + claims[username["claim"]]}}}


def signed_claims(token: str, party: RelyingParty, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims, with signature, times and limits checked; issuer and audience are not."""
    need(len(token) <= (party.max_token or 16384), "the token is too long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise Refused(str(error)) from None
    need(header["alg"] in (party.algorithms or UNDOCUMENTED), f"alg {header['alg']}")
    need(header["kid"] in keys, "an unknown key")
    key = keys[header["kid"]]
    need(key["use"] == "sig" and key["alg"] == header["alg"], "a key for something else")
    unchecked: Any = {f"verify_{name}": False for name in ("exp", "iat", "nbf", "aud", "iss", "sub", "jti")}
    try:
        claims: dict[str, Any] = jwt.decode(token, jwt.PyJWK(key), [header["alg"]], options=unchecked)
    except jwt.InvalidTokenError as error:
        raise Refused(str(error)) from None
    now = time.time()
    need(party.claims <= claims.keys(), "a claim is missing")
    need(claims["exp"] > now - SKEW and claims["iat"] < now + SKEW, "its time has passed, or is to come")
    need(claims["exp"] - claims["iat"] < (party.max_lifetime or 86400) + 1, "it lives too long")
    need(isinstance(claims["aud"], str), "several audiences")
    need(
        party.min_subject <= len(claims["sub"].encode()) <= (party.max_subject or 2048),
        "the subject is too short, or too long",
    )
    return claims


def options(words: list[str]) -> dict[str, str]:
    """Return the options of a command, `--name value` or `--name=value`."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        assert name.startswith("--"), f"{word} is no option"
        found[name] = value if equals else next(rest)
    return found


@contextmanager
def standing_in(walk: Walk) -> Iterator[Outside]:
    """Let the services outside be on loopback, for one walk."""
    outside = Outside(walk)
    endpoints: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
        "/v1/token": outside.google_sts, "/oauth2/v2.0/token": outside.entra, "/v1/oauth/token": outside.claude,
        "/oauth/token": outside.openai,
    }  # fmt: skip

    class Endpoint(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            try:
                if self.path.endswith("/selfsubjectreviews"):
                    found = outside.cluster(self.headers["Authorization"].removeprefix("Bearer "))
                else:
                    form = json.loads(body) if body.startswith("{") else {k: v for k, [v] in parse_qs(body).items()}
                    [answer] = [call for path, call in endpoints.items() if self.path.removeprefix(TENANT) == path]
                    found = answer(form)
            except Refused as refused:
                self.give(400, json.dumps({"error": "invalid_grant", "error_description": str(refused)}).encode())
            else:
                self.give(200, json.dumps(found).encode())

    with running(Endpoint) as port:
        here = f"http://127.0.0.1:{port}"
        walk.addresses |= {host: here + urlsplit(host).path for host in HOSTS}
        walk.commands |= {name: commands_of(getattr(outside, name)) for name in ("aws", "az", "gcloud")}
        yield outside


HOSTS: Final = (
    "https://sts.googleapis.com", "https://login.microsoftonline.com", "https://auth.openai.com",
    "https://api.anthropic.com/v1/oauth", "https://kubernetes.example.com:6443/apis",
)  # fmt: skip
TENANT: Final = "/0f2c1f4e-3c8b-4a57-9d57-9b8d1c1b7a10"


def commands_of(program: Callable[[list[str]], str]) -> Callable[[str], str]:
    """Return the runner of a block of commands of one program, which returns what the last one prints."""

    def run(text: str) -> str:
        lines = [shlex.split(line) for line in text.replace("\\\n", " ").splitlines()]
        return [program(words[1:]) for words in lines][-1]

    return run
