"""`tokenmint edge`."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes, read_text
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.standard_streams import show
from tokenmint.base.tls_files import verifying
from tokenmint.cli.options import Group, grouped
from tokenmint.edge.answers import Limits
from tokenmint.edge.following import AUDIENCES
from tokenmint.edge.serving import Options, serve
from tokenmint.model.secret import Secret

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")


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
            raise ConfigurationError(f"--audience: at most {AUDIENCES}: run a second sidecar for the others")
        if len(set(audiences)) < len(audiences) or not all(audiences):
            raise ConfigurationError("--audience: expected names of audiences, each once")
        if self.keep_followed < self.keep:
            raise ConfigurationError("--keep-followed: is shorter than --keep: raise it, or lower --keep")
        try:
            found = HttpUrl.parse(f"{upstream.scheme}://{self.revocations}")
        except BadUrl as error:
            raise ConfigurationError(
                f"--revocations: expected host:port of tokenmint's gRPC listener ({error})"
            ) from None
        if found.target != "/" or not self.revocations.endswith(f":{found.port}"):
            raise ConfigurationError("--revocations: expected host:port of tokenmint's gRPC listener, without scheme")
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
    url, address, secret = _url(upstream), _address(listen), _secret(secret_file)
    if not client_id.isascii() or not client_id.isprintable() or not client_id:
        raise ConfigurationError("--client-id: expected the name of a table in tokenmint's [clients]")
    names = tuple(name.lower() for name in header or ())
    if len(set(names)) < len(names) or not all(map(_HEADER.fullmatch, names)):
        raise ConfigurationError("--header: expected names of headers, each once, as in tokenmint's gateway.headers")
    options = Options(
        url, client_id, secret, address, keeping.limits(), names, host_header, _authorities(ca_file),
        keeping.source(url), keeping.audience or [],
    )  # fmt: skip
    asyncio.run(serve(options, lambda: show(f"tokenmint edge is ready on http://{address}\n")))


def _url(upstream: str) -> HttpUrl:
    try:
        url = HttpUrl.parse(upstream)
    except BadUrl as error:
        raise ConfigurationError(f"--upstream: {error}") from None
    if url.target != "/" or set("?#") & set(upstream):
        raise ConfigurationError("--upstream: has a path or a query: leave it out, the sidecar asks at /auth")
    if url.scheme != "https" and not url.is_loopback:
        raise ConfigurationError("--upstream: secrets would cross the network unencrypted: use https")
    return url


def _address(listen: str) -> Address:
    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise ConfigurationError(f"--listen: {error}") from None
    if not address.is_loopback:
        raise ConfigurationError("--listen: the sidecar authenticates nobody: choose a loopback address")
    return address


def _secret(file: Path) -> Secret:
    try:
        text = read_text(file).strip()
    except OSError as error:
        raise ConfigurationError(f"--secret-file: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        text = ""
    if not text.isascii() or not text.isprintable() or not text:
        raise ConfigurationError("--secret-file: expected one line with the secret of the client")
    return Secret(text)


def _authorities(file: Path | None) -> bytes | None:
    """Return the file's content, once it was found to be usable: otherwise every question would fail."""
    if file is None:
        return None
    try:
        verifying(authorities := read_bytes(file))
    except OSError as error:
        raise ConfigurationError(f"--ca-file: can't be read ({error.strerror})") from None
    except ValueError:
        raise ConfigurationError("--ca-file: expected certificates in PEM, of the authorities") from None
    return authorities
