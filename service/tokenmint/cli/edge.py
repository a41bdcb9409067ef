"""`tokenmint edge`."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.standard_streams import show
from tokenmint.cli.options import Group, grouped
from tokenmint.edge.answers import Limits
from tokenmint.edge.following import AUDIENCES
from tokenmint.edge.serving import Options, serve
from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Keeping(Group):
    """The options for how long answers are kept."""

    keep: Annotated[float, typer.Option(min=0, max=300, help="Seconds for which an answer is kept at most.")] = 1.0
    revocations: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="tokenmint's gRPC listener: follow its revocations.")
    ] = None
    audience: Annotated[list[str] | None, typer.Option(help="Each audience whose revocations are followed.")] = None
    keep_followed: Annotated[
        float, typer.Option(min=0, max=300, help="Seconds for which an answer is kept while they are followed.")
    ] = 300.0
    max_lag: Annotated[
        float, typer.Option(min=2, max=60, help="Seconds for which the stream of revocations may be away.")
    ] = 5.0
    when_lagging: Annotated[
        Literal["short", "ask"],
        typer.Option(help="While it is away for longer: keep answers for --keep, or ask for each request."),
    ] = "short"

    def limits(self) -> Limits:
        """Return the limits."""
        return Limits(self.keep, max(self.keep, self.keep_followed), self.max_lag, ask=self.when_lagging == "ask")

    def source(self, upstream: HttpUrl) -> HttpUrl | None:
        """Return the listener whose revocations are followed, with TLS as the upstream; None: none is.

        Raises:
            ConfigurationError: an option contradicts another.
        """
        audiences = self.audience or []
        if (self.revocations is None) is not (not audiences):
            raise ConfigurationError("--revocations and --audience belong together: give both")
        if self.revocations is None:
            return None
        if len(audiences) > AUDIENCES:
            raise ConfigurationError(f"--audience: at most {AUDIENCES}")
        try:
            found = HttpUrl.parse(f"{upstream.scheme}://{self.revocations}")
        except BadUrl as error:
            raise ConfigurationError(f"--revocations: expected host:port ({error})") from None
        if found.target != "/" or not self.revocations.endswith(f":{found.port}"):
            raise ConfigurationError("--revocations: expected host:port")
        if found.scheme != "https" and not found.is_loopback:
            raise ConfigurationError("--revocations: secrets would cross the network unencrypted: use https upstream")
        return found


@grouped
def command(
    upstream: Annotated[str, typer.Option(metavar="URL", help="tokenmint's HTTP listener.")],
    client_id: Annotated[str, typer.Option(envvar="TOKENMINT_CLIENT_ID", help="The sidecar's client id.")],
    secret_file: Annotated[Path, typer.Option(envvar="TOKENMINT_SECRET_FILE", help="The file with its secret.")],
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="A loopback address.")] = "127.0.0.1:8081",
    header: Annotated[list[str] | None, typer.Option(help="Each of tokenmint's gateway.headers.")] = None,
    host_header: Annotated[
        Literal["x-forwarded-host", "x-original-url"], typer.Option(help="tokenmint's gateway.host_header.")
    ] = "x-forwarded-host",
    ca_file: Annotated[Path | None, typer.Option(help="The authorities of tokenmint's certificate.")] = None,
    *,
    keeping: Keeping,
) -> None:
    """Keep tokenmint's answers for a gateway on the same machine.

    It asks tokenmint at /auth, as the gateway would, and gives an answer again to the same request for as long as
    tokenmint allows, and --keep at most. It needs no store. While tokenmint is away, it gives the answers that it still
    may give.

    With --revocations it follows tokenmint's revocations. Then a kept answer ends within a second of the revocation of
    its token, and so it may be kept for --keep-followed. The client has each --audience in its `serves`.

    Anyone who reaches its port can ask in its name, so it listens on loopback only. SIGTERM stops it.
    """
    try:
        url, address = HttpUrl.parse(upstream), Address.parse(listen)
        secret = Secret(read_bytes(secret_file).decode().strip())
    except BadUrl as error:
        raise ConfigurationError(f"--upstream: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"--secret-file: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(f"--listen: {error}") from None
    if not address.is_loopback:
        raise ConfigurationError("--listen: the sidecar authenticates nobody: choose a loopback address")
    if url.scheme != "https" and not url.is_loopback:
        raise ConfigurationError("--upstream: secrets would cross the network unencrypted: use https")
    authorities = str(ca_file) if ca_file is not None else None
    names = tuple(name.lower() for name in header or ())
    options = Options(
        url, client_id, secret, address, keeping.limits(), names, host_header, authorities,
        keeping.source(url), keeping.audience or [],
    )  # fmt: skip
    asyncio.run(serve(options, lambda: show(f"tokenmint edge is ready on http://{address}\n")))
