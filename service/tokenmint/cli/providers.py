"""`tokenmint providers`: the providers of a running service, and trials of providers from this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.base.errors import NotFound
from tokenmint.cli.commands import App
from tokenmint.cli.configured import names_of
from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.output import Output, as_dict, print_json, without_log
from tokenmint.cli.tables import print_message, print_table
from tokenmint.cli.times import when
from tokenmint.cli.token_files import PROVIDERS_KINDS, ProvidersKind, read_token, token_type
from tokenmint.model.secret import Secret
from tokenmint.v1 import provider_admin_service_pb2 as pb
from tokenmint.v1.provider_admin_service_pb2_grpc import ProviderAdminServiceStub

app = App(
    add_completion=False,
    no_args_is_help=True,
    help="List the providers whose tokens are accepted, try one before a deployment, and write the table of a new one.",
)

Provider = Annotated[str, typer.Argument(autocompletion=names_of("providers"))]
Config = Annotated[
    Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
]


@app.command("list")
@as_operator
def list_providers(service: Connection, output: Output = "text") -> None:
    """List the providers with the age of their keys."""
    with service.stub(ProviderAdminServiceStub) as stub:
        providers = pages(stub.ListProviders, pb.ListProvidersRequest(page_size=1000), "providers", service.call)
    if output == "json":
        print_json([as_dict(provider) for provider in providers])
        return
    rows = [
        (item.name, item.issuer, str(len(item.key_ids)), when(item, "fetch_time"), item.last_error or "-")
        for item in providers
    ]
    print_table(("provider", "issuer", "keys", "fetched", "last error"), rows, "no providers", folded=("last error",))


@app.command("get")
@as_operator
def get_provider(service: Connection, provider: Provider, output: Output = "json") -> None:
    """Show one provider as JSON."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.GetProvider(pb.GetProviderRequest(provider=provider), **service.call)
    print_message(answer.provider, output)


@app.command("refresh")
@as_operator
def refresh_provider(service: Connection, provider: Provider, output: Output = "json") -> None:
    """Fetch a provider's keys now, on the replica that handles the call."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.RefreshProviderKeys(pb.RefreshProviderKeysRequest(provider=provider), **service.call)
    print_message(answer.provider, output)


@app.command("test")
def trial(
    provider: Provider,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File that holds a token of the provider to try; - for standard input."),
    ] = None,
    kind: Annotated[
        ProvidersKind, typer.Option(metavar="KIND", help=f"The kind of that token: {PROVIDERS_KINDS}.")
    ] = "id_token",
    nonce: Annotated[str | None, typer.Option(help="The nonce that the token has to contain.")] = None,
    config: Config = None,
    dev: Annotated[bool, typer.Option("--dev", help="Apply the rules of `serve --dev`.")] = False,
    output: Output = "text",
) -> None:
    """Fetch a provider's keys from this machine, and show them. Needs the configuration but no running service.

    With a token, show step by step whether the provider's rules accept it. The token itself is never printed.
    Exit status 1 if there are no usable keys or the token is refused, 3 if the provider is out of reach.

    Example: tokenmint providers test google --token-file id-token.txt
    """
    from tokenmint.cli.provider_report import as_document, print_report, status_of
    from tokenmint.cli.provider_trial import Presented, try_provider
    from tokenmint.config.load import load, locate
    from tokenmint.config.suggestions import no_such_table

    with without_log():
        settings = load(locate(config, os.environ), os.environ, development=dev)
    if provider not in settings.providers:
        raise NotFound("provider", provider, no_such_table("providers", provider, settings.providers))
    presented = None
    if token_file is not None:
        presented = Presented(Secret(read_token(token_file)), token_type(kind), nonce)
    done = try_provider(settings, provider, presented)
    if output == "json":
        print_json(as_document(done))
    else:
        print_report(done)
    if status := status_of(done):
        raise typer.Exit(status)


@app.command("add")
def add_provider(
    issuer: str,
    name: Annotated[str | None, typer.Option(help="The provider's name in the configuration.")] = None,
    allow_private: Annotated[bool, typer.Option("--allow-private", help="The issuer is inside your network.")] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="The authorities (PEM) of its certificate, instead of the public ones.")
    ] = None,
    proxy: Annotated[str | None, typer.Option(help="The proxy to fetch through.")] = None,
    output: Output = "text",
) -> None:
    """Print the table of a provider for the configuration, from its issuer's discovery document.

    ISSUER may also be the URL of that document. For a shipped provider's issuer nothing is fetched.

    Required decisions are left to you as CHANGE-ME, optional ones as comments. No file is written.

    Example: tokenmint providers add https://login.example.com
    """
    from tokenmint.cli.provider_draft import drafted, issuer_of

    issuer = issuer_of(issuer)
    given = {"allow_private": allow_private or None, "ca_file": ca_file and str(ca_file.resolve()), "proxy": proxy}
    table = drafted(issuer, name, {key: value for key, value in given.items() if value is not None})
    if output == "json":
        print_json({"issuer": issuer, "table": table})
    else:
        print(table)
