"""`tokenmint providers`."""

from tokenmint.cli.commands import App
from tokenmint.cli.connection import Connection, as_operator, pages
from tokenmint.cli.output import Output, as_dict, print_json, print_message, print_table, when
from tokenmint.v1 import provider_admin_service_pb2 as pb
from tokenmint.v1.provider_admin_service_pb2_grpc import ProviderAdminServiceStub

app = App(
    add_completion=False,
    no_args_is_help=True,
    help="List the providers whose tokens are accepted, and their keys.",
)


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
    print_table(("provider", "issuer", "keys", "fetched", "last error"), rows, "no providers")


@app.command("get")
@as_operator
def get_provider(service: Connection, provider: str, output: Output = "json") -> None:
    """Show one provider as JSON."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.GetProvider(pb.GetProviderRequest(provider=provider), **service.call)
    print_message(answer.provider, output)


@app.command("refresh")
@as_operator
def refresh_provider(service: Connection, provider: str, output: Output = "json") -> None:
    """Fetch a provider's keys now, on the replica that handles the call."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.RefreshProviderKeys(pb.RefreshProviderKeysRequest(provider=provider), **service.call)
    print_message(answer.provider, output)
