"""`tokenmint token`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from tokenmint.cli.connection import Connection, Timeout, as_client, as_operator
from tokenmint.cli.output import Output, as_dict, as_json, at, plain, print_json, print_message, print_table
from tokenmint.errors import ConfigurationError
from tokenmint.secret import shown

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Exchange a token, look into one, verify one. Tokens come by file or stdin: arguments show in process lists.",
)

ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
TIMES: Final = {
    "iat": ("issued", "issued"),
    "auth_time": ("signed in", "signed in"),
    "nbf": ("valid from then on", "valid since then"),
    "exp": ("expires", "EXPIRED"),
}
"""What each time claim says while it is ahead, and once it has passed."""

TokenFile = Annotated[Path, typer.Option("--token-file", help="File that holds the token; - for standard input.")]


Audience = Annotated[str, typer.Option(help="The service that the token is for.")]
Scope = Annotated[list[str] | None, typer.Option(help="A scope; may be repeated.")]
Lifetime = Annotated[int | None, typer.Option(min=1, help="Seconds that the token shall live.")]
Kind = Annotated[Literal["id_token", "access_token", "jwt"], typer.Option(help="What the token is.")]


def _token(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ConfigurationError(f"{plain(shown(file))}: can't be read ({why})") from None
    if not text.strip():
        raise ConfigurationError(f"{file}: holds no token")
    return text.strip()


def _request(file: Path, kind: str, audience: str, scope: list[str] | None, lifetime: int | None) -> Any:
    from google.protobuf.duration_pb2 import Duration

    from tokenmint.v1 import token_exchange_service_pb2 as pb

    return pb.ExchangeTokenRequest(
        subject_token=_token(file),
        subject_token_type=f"urn:ietf:params:oauth:token-type:{kind}",
        audience=audience,
        scopes=scope or [],
        lifetime=Duration(seconds=lifetime) if lifetime else None,
    )


@app.command()
@as_client
def exchange(
    service: Connection,
    audience: Audience,
    token_file: TokenFile = Path("-"),
    scope: Scope = None,
    lifetime: Lifetime = None,
    kind: Kind = "id_token",
    raw: Annotated[bool, typer.Option("--raw", help="Print the token alone.")] = False,
    output: Output = "json",
) -> None:
    """Exchange a provider's token for ours.

    Example: tokenmint token exchange --audience https://api.example.com --scope read --raw < id_token
    """
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    request = _request(token_file, kind, audience, scope, lifetime)
    with service.stub(TokenExchangeServiceStub) as stub:
        answer = stub.ExchangeToken(request, **service.call)
    if raw:
        print(answer.token)
    else:
        print_message(answer, output)


@app.command()
@as_operator
def explain(
    service: Connection,
    client: Annotated[str, typer.Option(help="The client whose exchange is explained.")],
    audience: Audience,
    token_file: TokenFile = Path("-"),
    scope: Scope = None,
    lifetime: Lifetime = None,
    kind: Kind = "id_token",
    output: Output = "text",
) -> None:
    """Say step by step how an exchange would end, without making it. For operators with the security role.

    Exit status 1 where the exchange would be refused.

    Example: tokenmint token explain --client web --audience https://api.example.com < id_token
    """
    from tokenmint.v1 import token_exchange_service_pb2 as pb
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    request = pb.ExplainExchangeRequest(
        exchange=_request(token_file, kind, audience, scope, lifetime), client_id=client
    )
    with service.stub(TokenExchangeServiceStub) as stub:
        answer = stub.ExplainExchange(request, **service.call)
    if output == "json":
        print_json(as_dict(answer)["steps"])
    else:
        names = {value: name.removeprefix("OUTCOME_").lower() for name, value in pb.ExplainStep.Outcome.items()}
        rows = [(step.name, names[step.outcome], step.reason, step.detail) for step in answer.steps]
        print_table(("step", "outcome", "reason", "what was compared"), rows, "no steps")
    if any(step.outcome == pb.ExplainStep.OUTCOME_FAILED for step in answer.steps):
        raise typer.Exit(1)


@app.command()
def inspect(token_file: TokenFile = Path("-"), output: Output = "text") -> None:
    """Show what a token says. Nothing is verified: anybody can write such a token."""
    import time

    import jwt

    token = _token(token_file)
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):
        raise ConfigurationError("this is no JWT: expected three parts of base64url, separated by dots") from None
    if output == "json":
        print_json({"verified": False, "header": header, "claims": claims})
        return
    typer.echo("NOT VERIFIED: `tokenmint token verify` does that", err=True)
    print(as_json(header))
    print(as_json(claims))
    now = time.time()
    for name, (ahead, passed) in TIMES.items():
        value = claims.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            print(f"{name}: {at(value)}: {ahead if value > now else passed}")


@app.command()
def verify(
    audience: Annotated[str, typer.Option(help="For whom it has to be: the exact aud.")],
    issuer: Annotated[str, typer.Option(help="Who has to have signed it: the exact iss.")],
    token_file: TokenFile = Path("-"),
    jwks_url: Annotated[str | None, typer.Option(help="The key set. Default: as the issuer's discovery says.")] = None,
    timeout: Timeout = 10.0,
) -> None:
    """Verify a token as a service does: signature, issuer, audience, times. Exit status 1 where it does not hold.

    Example: tokenmint token verify --issuer https://tokens.example.com --audience https://api.example.com < token
    """
    import jwt

    token = _token(token_file)
    try:
        key = _key(token, jwks_url or _discovered(issuer, timeout), timeout)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=audience,
            issuer=issuer,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except jwt.PyJWKClientConnectionError as error:
        typer.echo(f"tokenmint: the key set of {plain(jwks_url or issuer)} can't be fetched: {error}", err=True)
        raise typer.Exit(3) from None
    except (jwt.PyJWTError, RecursionError) as error:
        typer.echo(f"tokenmint: refused: {plain(str(error))}", err=True)
        raise typer.Exit(1) from None
    print_json(claims)


def _key(token: str, url: str, timeout: float) -> Any:
    """Return the key of the set at ``url`` that the token names."""
    import jwt

    jwt.get_unverified_header(token)  # what is no token is refused before anything is fetched
    try:
        return jwt.PyJWKClient(url, timeout=timeout).get_signing_key_from_jwt(token)
    except jwt.PyJWKClientConnectionError as error:
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: {plain(str(error.__cause__ or error))}") from None
    except (OSError, ValueError, RecursionError):
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: is not a key set") from None


def _discovered(issuer: str, timeout: float) -> str:
    """Return where the issuer's discovery document says that its key set is."""
    import httpx2
    import jwt

    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        document = httpx2.get(url, timeout=timeout).raise_for_status().json()
        found = str(document["jwks_uri"])
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = plain(str(error).partition("\n")[0] or type(error).__name__)
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: {why}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise jwt.PyJWKClientConnectionError(f"{plain(url)}: is not a discovery document") from None
    if document.get("issuer") != issuer:
        raise jwt.InvalidIssuerError("the discovery document speaks for another issuer")
    return found
