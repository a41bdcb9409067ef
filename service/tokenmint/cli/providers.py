"""`tokenmint providers`."""

import typer

from tokenmint.cli.connection import Connection, as_operator
from tokenmint.cli.output import Output, as_dict, print_json, print_table, when
from tokenmint.v1 import provider_admin_service_pb2 as pb
from tokenmint.v1.provider_admin_service_pb2_grpc import ProviderAdminServiceStub

app = typer.Typer(no_args_is_help=True, help="Look at the providers whose tokens are accepted, and at their keys.")


@app.command("list")
@as_operator
def list_providers(service: Connection, output: Output = "text") -> None:
    """List the providers and how fresh their keys are."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.ListProviders(pb.ListProvidersRequest(page_size=1000), **service.call)
    if output == "json":
        print_json(as_dict(answer).get("providers", []))
        return
    rows = [
        (item.name, item.issuer, str(len(item.key_ids)), when(item, "fetch_time"), item.last_error or "-")
        for item in answer.providers
    ]
    print_table(("provider", "issuer", "keys", "fetched", "last error"), rows, "no providers")


@app.command("get")
@as_operator
def get_provider(service: Connection, provider: str) -> None:
    """Show one provider as JSON."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.GetProvider(pb.GetProviderRequest(provider=provider), **service.call)
    print_json(as_dict(answer.provider))


@app.command("refresh")
@as_operator
def refresh_provider(service: Connection, provider: str) -> None:
    """Fetch a provider's keys now."""
    with service.stub(ProviderAdminServiceStub) as stub:
        answer = stub.RefreshProviderKeys(pb.RefreshProviderKeysRequest(provider=provider), **service.call)
    print_json(as_dict(answer.provider))
