"""`tokenmint token`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.foreign_text import LONG, clipped, quoted
from tokenmint.cli.commands import App
from tokenmint.cli.configured import names_of
from tokenmint.cli.connection import Connection, as_client, as_operator, refusal_of
from tokenmint.cli.explanation import print_explanation, whole_numbers
from tokenmint.cli.issuer_keys import key_of, key_set_url
from tokenmint.cli.options import Group, Timeout
from tokenmint.cli.output import Output, as_dict, as_json, plain, print_json
from tokenmint.cli.tables import print_message, print_table
from tokenmint.cli.times import at, whole_seconds
from tokenmint.cli.token_files import ACTOR_KINDS, KINDS, ActorKind, Kind, read_token, requested_type, token_type

app = App(
    add_completion=False,
    no_args_is_help=True,
    help="Exchange, introspect, revoke, explain, inspect or verify a token. "
    "Tokens come from a file or stdin, because arguments are visible in process lists.",
)

ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
TIMES: Final = {
    "iat": ("issued", "issued"),
    "auth_time": ("signed in", "signed in"),
    "nbf": ("valid from then on", "valid since then"),
    "exp": ("expires", "EXPIRED"),
}
"""The words for each time claim before and after its time."""

TokenFile = Annotated[Path, typer.Option("--token-file", help="File that holds the token; - for standard input.")]


Audience = Annotated[
    str,
    typer.Option(
        help="The service that the token is for. Default: the one that --resource names, or the client's.",
        autocompletion=names_of("audiences"),
    ),
]
Audiences = Annotated[
    list[str] | None,
    typer.Option(
        "--audience",
        help="The service that the token is for. Repeated: one token for each. Default: as --resource names it, or the "
        "client's.",
        autocompletion=names_of("audiences"),
    ),
]
HANDLE: Final = "tmr_"


@dataclass(frozen=True, slots=True)
class Presented(Group):
    """The tokens of an exchange or a batch, and the proofs that go with them."""

    token_file: TokenFile = Path("-")
    kind: Annotated[
        Kind, typer.Option(metavar="KIND", help=f"The kind of token: {KINDS}. A token of tokenmint is an access_token.")
    ] = "id_token"
    actor_token_file: Annotated[
        Path | None, typer.Option("--actor-token-file", help="File that holds the token of the actor for the subject.")
    ] = None
    actor_kind: Annotated[ActorKind, typer.Option(metavar="KIND", help=ACTOR_KINDS)] = "id_token"
    nonce: Annotated[str | None, typer.Option(help="The nonce that the token has to contain.")] = None
    dpop_jkt: Annotated[
        str | None, typer.Option("--dpop-jkt", help="Bind the token to the DPoP key with this RFC 7638 thumbprint.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a request. Raises ``ConfigurationError``: a file holds no token."""
        found = {
            "subject_token": read_token(self.token_file),
            "subject_token_type": token_type(self.kind),
            "nonce": self.nonce,
            "dpop_jkt": self.dpop_jkt,
        }
        if self.actor_token_file is not None:
            if str(self.actor_token_file) == str(self.token_file) == "-":
                raise ConfigurationError("--token-file, --actor-token-file: one of them from standard input, not both")
            found |= {"actor_token": read_token(self.actor_token_file), "actor_token_type": token_type(self.actor_kind)}
        return found


@dataclass(frozen=True, slots=True)
class Requested(Group):
    """The kind of token that is requested, and the caller's account of its transaction."""

    requested_kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="The kind of token to mint, such as id_jag or txn_token; default: the audience's."
        ),
    ] = None
    request_context: Annotated[
        str | None, typer.Option(metavar="JSON", help="The circumstances of a transaction, a JSON object.")
    ] = None
    request_details: Annotated[
        str | None, typer.Option(metavar="JSON", help="The details of a transaction, a JSON object.")
    ] = None

    def kind(self) -> dict[str, Any]:
        """Return the fields that each target of a batch has too."""
        return {"requested_token_type": requested_type(self.requested_kind)} if self.requested_kind else {}

    def account(self) -> dict[str, Any]:
        """Return the fields that only a request for one token has."""
        return {"request_context": self.request_context, "request_details": self.request_details}


@dataclass(frozen=True, slots=True)
class Terms(Group):
    """The request for each audience."""

    resource: Annotated[
        list[str] | None,
        typer.Option("--resource", help="A URI that names the service too (RFC 8707); may be repeated."),
    ] = None
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be repeated.")] = None
    lifetime: Annotated[
        int | None,
        typer.Option(parser=whole_seconds, metavar="TIME", help="The token's lifetime, for example 90s or 1h30m."),
    ] = None

    def target(self, audience: str) -> dict[str, Any]:
        """Return the fields of a request for an audience."""
        from google.protobuf.duration_pb2 import Duration

        return {
            "audience": audience,
            "resources": self.resource or [],
            "scopes": self.scope or [],
            "lifetime": Duration(seconds=self.lifetime) if self.lifetime else None,
        }


@app.command()
@as_client
def exchange(
    service: Connection,
    presented: Presented,
    requested: Requested,
    terms: Terms,
    audience: Audiences = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the tokens, one on each line.")] = False,
    output: Output = "json",
) -> None:
    """Exchange a provider's token, or an issued token, for new tokens. Several audiences make one call.

    Exit status 1 if one of several audiences is refused; the tokens for the others are printed.

    Example: tokenmint token exchange --audience https://api.example.com --scope read --raw < id_token
    """
    from tokenmint.v1 import token_exchange_service_pb2 as pb
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    fields = presented.fields()
    audiences = audience or [""]
    targets = [terms.target(name) | requested.kind() for name in audiences]
    if len(targets) == 1:
        fields |= requested.account()
    elif any(requested.account().values()):
        raise ConfigurationError("--request-context, --request-details: for one audience alone")
    with service.stub(TokenExchangeServiceStub) as stub:
        if len(targets) == 1:
            answer: Any = stub.ExchangeToken(pb.ExchangeTokenRequest(**fields, **targets[0]), **service.call)
            tokens, refusals = [answer], []
        else:
            made = [pb.BatchExchangeTarget(**target) for target in targets]
            answer = stub.BatchExchangeTokens(pb.BatchExchangeTokensRequest(**fields, targets=made), **service.call)
            tokens = [result.token for result in answer.results if result.HasField("token")]
            refusals = [
                f"{name}: {refusal_of(result.error)}"
                for name, result in zip(audiences, answer.results, strict=True)
                if result.HasField("error")
            ]
    if raw:
        print("\n".join(token.token for token in tokens))
    elif output == "json" and len(targets) > 1:
        print_json([as_dict(token) for token in tokens])
    else:
        for token in tokens:
            print_message(token, output)
    for line in refusals:
        typer.echo(f"tokenmint: {line}", err=True)
    if refusals:
        raise typer.Exit(1)


@app.command()
@as_client
def introspect(service: Connection, token_file: TokenFile = Path("-"), output: Output = "json") -> None:
    """Ask the service for the claims of an issued token and whether it is active (RFC 7662).

    The exit status is 0 for active and inactive tokens; the answer shows which it is.

    Example: tokenmint token introspect < token
    """
    from tokenmint.v1 import token_exchange_service_pb2 as pb
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    request = pb.IntrospectTokenRequest(token=read_token(token_file))
    with service.stub(TokenExchangeServiceStub) as stub:
        answer = stub.IntrospectToken(request, **service.call)
    claims = whole_numbers(as_dict(answer).get("claims") or {})
    if output == "json":
        print_json({"active": answer.active, **dict(sorted(claims.items()))})
        return
    print_claims({"active": answer.active, **dict(sorted(claims.items()))})


@app.command()
@as_client
def revoke(service: Connection, token_file: TokenFile = Path("-"), output: Output = "text") -> None:
    """Revoke an issued token, and every token that was exchanged for it (RFC 7009).

    The service's answer does not tell whether it knows the token: one that has expired, or that it can't revoke, such
    as an ID-JAG, is accepted too.

    Example: tokenmint token revoke < token
    """
    from tokenmint.v1 import token_exchange_service_pb2 as pb
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    request = pb.RevokeTokenRequest(token=read_token(token_file))
    with service.stub(TokenExchangeServiceStub) as stub:
        stub.RevokeToken(request, **service.call)
    if output == "json":
        print_json({"accepted": True})
    else:
        print(
            "accepted: the token is revoked if it was minted for this client and is in force; verifiers that follow "
            "neither revocations nor status lists accept a JWT until it expires"
        )


@app.command()
@as_operator
def explain(
    service: Connection,
    client: Annotated[
        str, typer.Option(help="The client whose exchange is explained.", autocompletion=names_of("clients"))
    ],
    presented: Presented,
    requested: Requested,
    terms: Terms,
    audience: Audience = "",
    output: Output = "text",
) -> None:
    """Show step by step how an exchange would end, and the token that it would mint, without making it.

    For operators with the security role.

    Exit status 1 if the exchange would be refused.

    Example: tokenmint token explain --client web --audience https://api.example.com < id_token
    """
    from tokenmint.v1 import token_exchange_service_pb2 as pb
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    fields = presented.fields()
    target = terms.target(audience) | requested.kind() | requested.account()
    request = pb.ExplainExchangeRequest(exchange=pb.ExchangeTokenRequest(**fields, **target), client_id=client)
    with service.stub(TokenExchangeServiceStub) as stub:
        answer = stub.ExplainExchange(request, **service.call)
    print_explanation(answer, output)
    if any(step.outcome == pb.ExplainStep.OUTCOME_FAILED for step in answer.steps):
        raise typer.Exit(1)


@app.command()
def inspect(token_file: TokenFile = Path("-"), output: Output = "text") -> None:
    """Show the claims of a token, without verifying them: any sender can write such a token."""
    import time

    import jwt

    token = read_token(token_file)
    if token.startswith(HANDLE):
        raise ConfigurationError(
            "this is a reference token, whose claims only the service knows: `tokenmint token introspect` shows them"
        )
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):
        raise ConfigurationError("this is not a JWT: expected three parts of base64url, separated by dots") from None
    if output == "json":
        print_json({"verified": False, "header": header, "claims": claims})
        return
    typer.echo("NOT VERIFIED: `tokenmint token verify` verifies it", err=True)
    print(as_json(header))
    print(as_json(claims))
    now = time.time()
    for name, (ahead, passed) in TIMES.items():
        value = claims.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            print(f"{name}: {at(value)}: {ahead if value > now else passed}")


@app.command()
def verify(
    audience: Annotated[str, typer.Option(help="The required audience: the exact aud.")],
    issuer: Annotated[str, typer.Option(help="The required issuer: the exact iss.")],
    token_file: TokenFile = Path("-"),
    jwks_url: Annotated[
        str | None, typer.Option(help="The key set. Default: from the issuer's discovery document.")
    ] = None,
    timeout: Timeout = 10.0,
    output: Output = "json",
) -> None:
    """Verify a token as a service does: signature, issuer, audience, times. Exit status 1 if it is not valid.

    Example: tokenmint token verify --issuer https://tokens.example.com --audience https://api.example.com < token
    """
    import jwt

    token = read_token(token_file)
    try:
        key = key_of(token, jwks_url or key_set_url(issuer, timeout), timeout)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=audience,
            issuer=issuer,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except jwt.PyJWKClientConnectionError as error:
        why = clipped(str(error), LONG)  # it may quote the answer
        typer.echo(f"tokenmint: the key set of {plain(jwks_url or issuer)} can't be fetched: {why}", err=True)
        raise typer.Exit(3) from None
    except (jwt.PyJWTError, RecursionError) as error:
        typer.echo(f"tokenmint: refused: {plain(str(error))}{_compared(token, error, issuer, audience)}", err=True)
        raise typer.Exit(1) from None
    if output == "json":
        print_json(claims)
    else:
        print_claims(claims)


def _compared(token: str, error: Exception, issuer: str, audience: str) -> str:
    """Return the two values that differ, if the token's issuer or audience is another one; else ""."""
    import jwt

    name, required = ("aud", audience) if isinstance(error, jwt.InvalidAudienceError) else ("iss", issuer)
    if name == "iss" and not isinstance(error, jwt.InvalidIssuerError):
        return ""
    try:
        value = jwt.decode(token, options={"verify_signature": False}).get(name)
    except (jwt.PyJWTError, RecursionError):
        return ""
    if value == required:
        return ""
    return f": the token's {name} is {quoted(str(value), LONG)}, required is {quoted(required, LONG)}"


def print_claims(claims: dict[str, Any]) -> None:
    """Print claims for people: times also as such."""
    rows: list[tuple[str, str]] = []
    for name, value in claims.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        is_time = name in TIMES and isinstance(value, int | float) and not isinstance(value, bool)
        rows.append((name, f"{text}: {at(value)}" if is_time else text))
    print_table(("claim", "value"), rows, "nothing", folded=("value",))
