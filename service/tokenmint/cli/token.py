"""`tokenmint token`."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tokenmint.cli.connection import Connection, Timeout, as_client
from tokenmint.cli.output import Output, as_dict, print_json
from tokenmint.errors import ConfigurationError

app = typer.Typer(
    no_args_is_help=True, help="Exchange a token, look into one, verify one. Tokens come by file or stdin."
)

TokenFile = Annotated[Path, typer.Option("--token-file", help="File that holds the token; - for standard input.")]


def _token(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: can't be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    if not text.strip():
        raise ConfigurationError(f"{file}: holds no token")
    return text.strip()


@app.command()
@as_client
def exchange(
    service: Connection,
    audience: Annotated[str, typer.Option(help="The service that the token is for.")],
    token_file: TokenFile = Path("-"),
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be repeated.")] = None,
    lifetime: Annotated[int | None, typer.Option(min=1, help="Seconds that the token shall live.")] = None,
    kind: Annotated[Literal["id_token", "access_token", "jwt"], typer.Option(help="What the token is.")] = "id_token",
    raw: Annotated[bool, typer.Option("--raw", help="Print the token alone.")] = False,
) -> None:
    """Exchange a provider's token for ours."""
    from google.protobuf.duration_pb2 import Duration

    from tokenmint.v1 import token_exchange_service_pb2 as pb
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

    request = pb.ExchangeTokenRequest(
        subject_token=_token(token_file),
        subject_token_type=f"urn:ietf:params:oauth:token-type:{kind}",
        audience=audience,
        scopes=scope or [],
        lifetime=Duration(seconds=lifetime) if lifetime else None,
    )
    with service.stub(TokenExchangeServiceStub) as stub:
        answer = stub.ExchangeToken(request, **service.call)
    if raw:
        print(answer.token)
    else:
        print_json(as_dict(answer))


@app.command()
def inspect(token_file: TokenFile = Path("-"), output: Output = "text") -> None:
    """Show what a token says. Nothing is verified: anybody can write such a token."""
    import jwt

    token = _token(token_file)
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise ConfigurationError("this is no JWT: expected three parts of base64url, separated by dots") from None
    if output == "json":
        print_json({"verified": False, "header": header, "claims": claims})
        return
    typer.echo("NOT VERIFIED: `tokenmint token verify` does that", err=True)
    print(json.dumps(header, indent=2))
    print(json.dumps(claims, indent=2, ensure_ascii=False))
    for name in ("iat", "nbf", "exp", "auth_time"):
        if isinstance(claims.get(name), int | float):
            print(f"{name}: {datetime.fromtimestamp(claims[name], UTC):%Y-%m-%d %H:%M:%S}Z")


@app.command()
def verify(
    issuer: Annotated[str, typer.Option(help="Who has to have signed it: the exact iss.")],
    audience: Annotated[str, typer.Option(help="For whom it has to be: the exact aud.")],
    token_file: TokenFile = Path("-"),
    jwks_url: Annotated[str | None, typer.Option(help="The key set. Default: as the issuer's discovery says.")] = None,
    timeout: Timeout = 10.0,
) -> None:
    """Verify a token as a service does: signature, issuer, audience, times. Exit status 1 where it does not hold."""
    import jwt

    token = _token(token_file)
    try:
        url = jwks_url or _discovered(issuer, timeout)
        key = jwt.PyJWKClient(url, timeout=timeout).get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["ES256", "RS256", "EdDSA"],
            audience=audience,
            issuer=issuer,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except jwt.PyJWKClientConnectionError:
        typer.echo(f"tokenmint: the key set of {issuer} can't be fetched", err=True)
        raise typer.Exit(3) from None
    except jwt.PyJWTError as error:
        typer.echo(f"tokenmint: refused: {error}", err=True)
        raise typer.Exit(1) from None
    print_json(claims)


def _discovered(issuer: str, timeout: float) -> str:
    import httpx2
    import jwt

    try:
        document = httpx2.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", timeout=timeout).json()
        url = document["jwks_uri"]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        raise jwt.PyJWKClientConnectionError("no discovery document") from None
    if document.get("issuer") != issuer:
        raise jwt.InvalidIssuerError("the discovery document speaks for another issuer")
    return str(url)
