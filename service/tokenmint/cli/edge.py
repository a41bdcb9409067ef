"""`tokenmint edge`."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.standard_streams import show
from tokenmint.edge.serving import Options, serve
from tokenmint.model.secret import Secret


def command(
    upstream: Annotated[str, typer.Option(metavar="URL", help="tokenmint's HTTP listener.")],
    client_id: Annotated[str, typer.Option(envvar="TOKENMINT_CLIENT_ID", help="The sidecar's client id.")],
    secret_file: Annotated[Path, typer.Option(envvar="TOKENMINT_SECRET_FILE", help="The file with its secret.")],
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="A loopback address.")] = "127.0.0.1:8081",
    keep: Annotated[float, typer.Option(min=0, max=300, help="Seconds for which an answer is kept at most.")] = 1.0,
    header: Annotated[list[str] | None, typer.Option(help="Each of tokenmint's gateway.headers.")] = None,
    host_header: Annotated[
        Literal["x-forwarded-host", "x-original-url"], typer.Option(help="tokenmint's gateway.host_header.")
    ] = "x-forwarded-host",
    ca_file: Annotated[Path | None, typer.Option(help="The authorities of tokenmint's certificate.")] = None,
) -> None:
    """Keep tokenmint's answers for a gateway on the same machine.

    It asks tokenmint at /auth, as the gateway would, and gives an answer again to the same request for as long as
    tokenmint allows, and --keep at most. It needs no store. While tokenmint is away, it gives what it still may.

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
    options = Options(url, client_id, secret, address, keep, names, host_header, authorities)
    asyncio.run(serve(options, lambda: show(f"tokenmint edge is ready on http://{address}\n")))
