"""How each refusal that a guide names is brought about."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import grpc
from tests import plain_http
from tests.guide_chains import (
    AS_ORDERS,
    chained,
    fresh_chain,
    longer_than_its_parent,
    longest_chain,
    not_reexchanged,
    scope_is_missing,
)
from tests.guide_domains import DOMAINS
from tests.guide_mcp import MCP
from tests.guide_settings import APPLICATION, ENTRA, FIREBASE, GOOGLE, PARTNER, POD, SERVICE_ACCOUNT, TENANT, delegating
from tests.guide_signals import SIGNALS
from tests.guides import Provocation, Walk, command, config, token, told
from tests.polling import wait_until
from tests.process import CLIENT

from tokenmint.envoy.v3 import external_authorization_pb2 as envoy_pb

ORDERS: Final = "https://orders.example.com"
API: Final = "https://api.example.com"
AS_MCP: Final = "--kind access_token --token-file mcp-token.txt --client-id mcp --secret-file mcp.secret"
REPLACING: Final = (
    "--requested-kind txn_token --kind txn_token --token-file txn-token.txt "
    "--client-id orders --secret-file orders.secret"
)
MOUNTED_KEY: Final = "/run/secrets/tokenmint/key-encryption/key"
FIREBASE_CUSTOM_TOKEN: Final = (
    "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
)
"""The `aud` of a custom token."""


def forged(walk: Walk) -> str:
    """Send what Entra signed for Microsoft Graph, whose signature nobody else can verify."""
    signed = walk.issuer.token(time.time(), {"nonce": "n"}, **ENTRA)
    return token(text=signed.rpartition(".")[0] + "." + "A" * 342)(walk)


def outside_of_a_pod(walk: Walk) -> str:
    """Check the configuration without the issuer, which a pod's own token would tell."""
    text = walk.configuration()
    given = re.search(r'issuer = "https://kubernetes.example.com"\njwks_url = .*\nallow_private = true', text)
    assert given is not None
    return config(given[0], "")(walk)


def application_alone(walk: Walk) -> str:
    """Send an application's own token to a provider that does not take them."""
    line = 'app_only = "accept"'
    text = walk.configuration()
    assert line in text
    walk.serve(text=text.replace(line, ""))
    return token(**APPLICATION | {"idtyp": None}, options="--kind access_token")(walk)


def form(path: str = "token", **changes: str) -> Provocation:
    """Return what sends a form to one of the OAuth endpoints, and says what its answer does in one line."""

    def provoke(walk: Walk) -> str:
        assert walk.service is not None
        walk.refresh()
        given = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": ORDERS,
            "subject_token": (walk.directory / "id-token.txt").read_text(),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "client_id": "web", "client_secret": CLIENT.reveal(), **changes,
        }  # fmt: skip
        proof = {"DPoP": given.pop("proof")} if "proof" in given else {}
        url = f"http://{walk.service.listen['http']}/oauth2/{path}"
        answer = plain_http.post(url, data=given, headers=proof)
        assert answer.status_code >= 400, "it was accepted"
        said = answer.json()
        return f"{answer.status_code} {said['error']}: {said['error_description']} ({said['reason']})"

    return provoke


def expired(walk: Walk) -> str:
    """Send an expired token over HTTP."""
    return form(subject_token=walk.issuer.token(time.time() - 4000, **PARTNER))(walk)


def another_clients_token(walk: Walk) -> str:
    """Revoke what was issued to another client."""
    program = next(block.text for block in walk.blocks if "client_assertion" in block.text)
    done = walk.python(program.replace('["token_type"]', '["access_token"]'))
    return form("revoke", token=done.stdout.strip())(walk)


def check(extensions: Mapping[str, str], host: str = "orders.example", **claims: Any) -> Provocation:
    """Return what asks as Envoy does, and says what the client would be answered."""

    def provoke(walk: Walk) -> str:
        assert walk.service is not None
        request = envoy_pb.CheckRequest()
        http = request.attributes.request.http
        http.host = host
        request.attributes.context_extensions.update(extensions)
        given = {**PARTNER, **claims}
        if given["sub"]:
            now = time.time() + given.pop("later", 0)
            http.headers["authorization"] = f"Bearer {walk.issuer.token(now, **given)}"
        with grpc.insecure_channel(walk.service.listen["grpc"]) as channel:
            ask = channel.unary_unary(
                "/envoy.service.auth.v3.Authorization/Check",
                request_serializer=envoy_pb.CheckRequest.SerializeToString,
                response_deserializer=envoy_pb.CheckResponse.FromString,
            )
            metadata = (("tokenmint-client-id", "gateway"), ("tokenmint-client-secret", CLIENT.reveal()))
            answer = ask(request, metadata=metadata, timeout=20)
        return f"{answer.denied.status.code} {answer.denied.body}"

    return provoke


def asked(
    path: str, *headers: tuple[str, str], secret: str = CLIENT.reveal(), sub: str | None = "", **claims: Any
) -> Provocation:
    """Return what asks as a gateway does over HTTP; without a token if ``sub`` is None."""

    def provoke(walk: Walk) -> str:
        assert walk.service is not None
        given = [("tokenmint-client-id", "gateway"), ("tokenmint-client-secret", secret), *headers]
        if sub is not None:
            now = time.time() + claims.get("later", 0)
            changed = {name: value for name, value in claims.items() if name != "later"}
            given.append(
                ("authorization", f"Bearer {walk.issuer.token(now, **{**PARTNER, 'aud': 'orders-app'} | changed)}")
            )
        with plain_http.sync_client() as http:
            answer = http.get(f"http://{walk.service.listen['http']}{path}", headers=given)
        return f"{answer.status_code} {answer.text}"

    return provoke


def somebody_elses(walk: Walk) -> str:
    """Exchange what was issued for another audience, to somebody else."""
    walk.serve(text=walk.configuration().replace('clients = ["orders"]', 'clients = ["orders", "stock"]'))
    fresh_chain(walk)
    return chained("https://stock.example.com", "first.txt", "--client-id stock --secret-file stock.secret")(walk)


def session(walk: Walk, text: str | None = None) -> None:
    """Sign in, to a service with another configuration where one is given."""
    if text is not None:
        walk.serve(text=text)
    done = walk.run(
        'echo \'{"principal": "eve", "identities": [{"provider": "partner", "subject": "7"}]}\''
        " | tokenmint profiles put -\n"
        "tokenmint token exchange --audience https://app.example.com --token-file eve.txt --raw > session.txt"
    )
    assert done.returncode == 0, done.stderr


def without_serves(walk: Walk) -> str:
    """Let a gateway swap handles that it has nothing to do with."""
    session(walk, walk.configuration().replace('serves = ["https://app.example.com"]', ""))
    return chained(ORDERS, "session.txt", "--client-id gateway --secret-file gateway.secret")(walk)


def without_reexchange(walk: Walk) -> str:
    """Ask for an audience that takes other tokens than the session's."""
    text = walk.configuration().replace(
        'reexchange_from = ["https://app.example.com"]', f'reexchange_from = ["{ORDERS}"]'
    )
    session(walk, text)
    return chained(ORDERS, "session.txt")(walk)


def revoked_everywhere(walk: Walk) -> str:
    """Revoke everything of somebody who has a session."""
    session(walk)
    done = walk.run("tokenmint profiles revoke-tokens eve")
    assert done.returncode == 0, done.stderr
    return chained(ORDERS, "session.txt")(walk)


def acting(audience: str, options: str = "", **claims: Any) -> Provocation:
    """Return what exchanges a user's token with that of a service that acts for it."""
    options = options or "--actor-token-file service-account.txt --actor-kind jwt"
    return token(audience=audience, options=options, **{**PARTNER, **claims})


def large_claims(walk: Walk) -> str:
    """Give the profile a claim that is too large for Firebase."""
    claims = json.dumps({"principal": "ada", "identities": [{"provider": "firebase", "subject": "rYqPw2bTtZ"}],
                         "claims": {"tenant": "x" * 1000}})  # fmt: skip
    both = f"tokenmint token exchange --audience {ORDERS} --audience firebase --token-file id-token.txt"
    return told(walk, f"echo '{claims}' | tokenmint profiles put - >put.txt\n{both}")


def other_tenant(walk: Walk) -> str:
    """Serve with tenants, none of which the user is of."""
    text = walk.configuration().replace('project = "my-project"', 'project = "my-project"\ntenants = ["acme"]', 1)
    walk.serve(text=text)
    return token(**FIREBASE)(walk)


def outside(audience: str, party: str, near: str) -> Sequence[Provocation]:
    """Return the provocations of a guide to a service outside."""
    return [
        config(f'relying_party = "{party}"', f'relying_party = "{near}"'),
        token(**PARTNER | {"aud": "other-app"}, audience=audience),
        token(**PARTNER | {"sub": "9"}, audience=audience),
    ]


GOOGLE_POOL: Final = "https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/tokenmint/providers/tokenmint"
SVIDS: Final = "spiffe://prod.example.com/reports"
SITE = '[audiences."https://orders.azurewebsites.net"'


def transacting(options: str) -> Provocation:
    """Return what exchanges a token of an agent that acts again, as the page does, with these options."""

    def provoke(walk: Walk) -> str:
        walk.run("""echo '{"principal": "assistant"}' | tokenmint profiles put -""")
        told_of = walk.run("tokenmint profiles get assistant").stdout
        refused = datetime.fromisoformat(json.loads(told_of)["tokens_valid_after_time"]).timestamp()
        wait_until(lambda: time.time() >= refused + 1)  # tokens from before stay refused
        for name, text in delegating(walk.issuer, time.time()).items():
            (walk.directory / name).write_text(text)
        for block in walk.blocks:
            if block.kind == "sh" and ("> mcp-token.txt" in block.text or "> txn-token.txt" in block.text):
                walk.run(block.text)
        return told(walk, f"tokenmint token exchange --audience example.internal {options}")

    return provoke


REFUSED: Mapping[str, Sequence[Provocation]] = {
    "console": [
        config('console = "127.0.0.1:0"', 'console = "0.0.0.0:7445"'),
        config('console = "127.0.0.1:0"', 'console = "127.0.0.1:0"\nconsole_hosts = ["https://console.example.com"]'),
        command("curl --silent --fail-with-body --header 'Host: evil.example' http://127.0.0.1:7445/"),
        command("curl --silent --fail-with-body http://127.0.0.1:7445/api/session"),
    ],
    "delegation-and-binding": [
        acting("https://payments.example.com"),
        acting(ORDERS, "--actor-token-file id-token.txt"),
        acting("https://mail.example.com"),
        acting("https://mail.example.com", may_act={"sub": "somebody"}),
        token(**PARTNER, audience="https://payments.example.com"),
        form(audience="https://ledger.example.com"),
        command("TOKENMINT_CERT_FILE= TOKENMINT_KEY_FILE= tokenmint token introspect --token-file bound.txt"),
        chained("https://archive.example.com", "bound.txt"),
        form(audience="https://payments.example.com", proof="x.y.z"),
        config('client_ca_file = "clients-ca.pem"\n', ""),
    ],
    "envoy": [
        check({}, sub=None),
        check({}, later=-4000, aud="orders-app"),
        check({}, aud="another-app"),
        check({}, host="elsewhere.example", aud="orders-app"),
        check({"tokenmint.audience": "https://orders.example", "tokenmint.scope": "admin"}, aud="orders-app"),
        config('"orders.example" = "https://orders.example"', '"orders.example" = "https://order.example"'),
    ],
    "gateways": [
        asked("/auth/orders", sub=None),
        asked("/auth/orders", ("x-tokenmint-principal", "root")),
        asked("/auth/orders", ("authorization", "Bearer x")),
        asked("/auth/orders", later=-4000),
        asked("/auth", ("x-forwarded-host", "elsewhere.example")),
        asked("/auth/orders", secret="tms_wrong"),
        config('[gateway.routes.orders]                 # for those that ask at /auth/orders\naudience = "https://orders',
               '[gateway.routes.orders]\naudience = "https://order'),
        config("[gateway]\n", '[listen]\nhttp = "0.0.0.0:8080"\n[gateway]\n'),
    ],
    "kubernetes": [
        config("[providers.google]", f'[keys]\nencryption_key_file = "{MOUNTED_KEY}"\n[providers.google]'),
        outside_of_a_pod,
        config("[providers.google]", '[listen]\nhttp = "0.0.0.0:8080"\nplaintext = true\n[providers.google]'),
        token(audience=API, **POD | {"kubernetes.io": POD["kubernetes.io"] | {"namespace": "default"}}),
        token(audience=API, **POD | {"aud": ["elsewhere"]}),
    ],
    "mcp-server": MCP,
    "oauth-http": [
        form(client_secret="wrong"),  # which is the point
        expired,
        form(audience="https://unknown.example.com"),
        form(scope="admin"),
        form(grant_type="password"),
        another_clients_token,
        config("[oauth]", '[listen]\nhttp = "0.0.0.0:8080"\n[oauth]'),
    ],
    "other-domains": DOMAINS,
    "agents": [
        transacting(f"{AS_MCP} --requested-kind txn_token"),
        transacting(f"{AS_MCP} --scope orders.write"),
        transacting(f"{AS_MCP} --requested-kind access_token --scope orders.write"),
        transacting(f"{AS_MCP} --requested-kind txn_token --scope orders.delete"),
        transacting(f"{REPLACING} --request-details '{{}}' --scope orders.write"),
        transacting(f"{REPLACING} --scope orders.read"),
        config('drafts = ["draft-ietf-oauth-transaction-tokens-10"]', ""),
    ],
    "status-lists": [
        config('drafts = ["draft-ietf-oauth-status-list-20"]', ""),
        config("status_list = true", 'status_list = true\nclaims = { status = "assertion.sub" }'),
    ],
    "token-chains": [
        command(f"tokenmint token exchange --audience {ORDERS} --token-file stock.txt"),
        chained("https://stock.example.com", "orders.txt", AS_ORDERS),
        not_reexchanged,
        somebody_elses,
        scope_is_missing,
        longer_than_its_parent,
        config('reexchange_from = ["https://orders.example.com"]', 'reexchange_from = ["https://order.example.com"]'),
        longest_chain,
    ],
    "signals": SIGNALS,
    "web-app-sessions": [
        chained(ORDERS, "session.txt"),
        chained(ORDERS, "other.txt", text="tmr_" + "A" * 43),
        token(audience=ORDERS, file="session.txt"),
        config('idle = "30m"', 'idle = "9h"'),
        command("tokenmint token inspect --token-file session.txt"),
        revoked_everywhere,
        without_serves,
        without_reexchange,
    ],
    "app-service": [
        config('key_file = "site-key"', 'key_file = "web.secret"'),
        config('key_file = "site-key"', 'key_file = "short"'),
        config('max_lifetime = "1h"\n', 'max_lifetime = "1h"\nalgorithm = "RS256"\n'),
        config(SITE, "[audiences.orders"),
        config('algorithms = ["ES256", "RS256"]', 'algorithms = ["ES256"]'),
        command("tokenmint token verify --issuer http://127.0.0.1:8080 --audience x --token-file token.txt"),
    ],
    "entra": [
        token(**ENTRA | {"iss": "https://login.microsoftonline.com/7b0c6a52-52b5-4a0d-8e51-0a5a7a3d2f45/v2.0"}),
        forged,
        token(**ENTRA | {"aud": "api://other"}),
        token(**ENTRA, options="--kind jwt"),
        token(**ENTRA | {"oid": None}),
        token(**ENTRA, _claim_names={"groups": "src1"}),
        token(**ENTRA, audience="https://jobs.example.com"),
        config(f'  "{TENANT}",\n', '  "common",\n'),
        application_alone,
    ],
    "firebase": [
        token(iss="signer@my-project.iam.gserviceaccount.com", aud=FIREBASE_CUSTOM_TOKEN),
        token(**FIREBASE | {"iss": "https://securetoken.google.com/other-project"}),
        token(**FIREBASE | {"iss": "https://session.firebase.google.com/other-project"}),
        token(**FIREBASE | {"sub": "somebody"}),
        large_claims,
        token(**FIREBASE, audience="firebase", options="--lifetime 60"),
        config("", "", FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099"),
        config("[audiences.firebase]                    # the name in callers' requests; any name will do\n"
               'clients = ["web"]\n'
               'providers = ["firebase"]', '[audiences.firebase]\nclients = ["web"]\n'
               'providers = ["firebase", "firebase-cookie"]'),
        config('project = "my-project"\nservice_account_file', 'project = "other-project"\nservice_account_file'),
        other_tenant,
    ],
    "aws": outside("sts.amazonaws.com", "aws", "awss"),
    "azure": outside("api://AzureADTokenExchange", "azure", "azur"),
    "claude-api": outside("https://api.anthropic.com", "anthropic", "antropic"),
    "google-cloud": outside(GOOGLE_POOL, "gcp", "gcpp"),
    "kubernetes-api": outside("https://kubernetes.example.com:6443", "kubernetes", "kubernete"),
    "openai-api": outside("https://api.openai.com/v1", "openai", "opanai"),
    "openbao": outside("https://bao.example.com", "vault", "valt"),
    "spiffe": [
        token(**SERVICE_ACCOUNT | {"kubernetes.io": {"namespace": "a/sa/b"}}, audience=SVIDS),
        config('[spiffe]\ntrust_domain = "prod.example.com"\n', ""),
        config('path = "/ns/', 'path = "ns/'),
    ],
    "google-sign-in": [
        token(**GOOGLE | {"aud": "other.apps.googleusercontent.com"}),
        token(**GOOGLE | {"hd": None}),
        token(**GOOGLE, later=-4000),
        token(text="ya29.a0AfH6SMC"),
        token(**GOOGLE | {"sub": "7"}),
        token(**GOOGLE, options="--nonce n1"),
        config('  "1234-web.apps.googleusercontent.com",\n  "1234-android.apps.googleusercontent.com",\n'
               '  "1234-ios.apps.googleusercontent.com",\n', ""),
    ],
}  # fmt: skip
