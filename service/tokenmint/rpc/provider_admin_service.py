"""ProviderAdminService."""

from collections.abc import Callable

from tokenmint.base.errors import NotFound
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context
from tokenmint.v1 import provider_admin_service_pb2 as pb
from tokenmint.v1 import provider_admin_service_pb2_grpc as pb_grpc
from tokenmint.verification.provider import Provider
from tokenmint.verification.verifier import Verifier


class ProviderAdminService(pb_grpc.ProviderAdminServiceServicer):
    """Lists the providers and refreshes their keys.

    Args:
        verifier: returns the verifier in use, which a reload replaces.
    """

    def __init__(self, verifier: Callable[[], Verifier]) -> None:
        self._verifier = verifier

    def _message(self, provider: Provider) -> pb.Provider:
        return convert.provider_message(provider, self._verifier().key_sets.status(provider.name))

    def _find(self, name: str) -> Provider:
        provider = self._verifier().providers.get(name)
        if provider is None:
            raise NotFound("provider", name)
        return provider

    async def ListProviders(self, request: pb.ListProvidersRequest, context: Context) -> pb.ListProvidersResponse:
        """List the providers by name."""
        providers = [provider for _, provider in sorted(self._verifier().providers.items())]
        listed, following = convert.page(providers, request.page_size, request.page_token)
        return pb.ListProvidersResponse(
            providers=[self._message(provider) for provider in listed], next_page_token=following
        )

    async def GetProvider(self, request: pb.GetProviderRequest, context: Context) -> pb.GetProviderResponse:
        """Return one provider."""
        return pb.GetProviderResponse(provider=self._message(self._find(request.provider)))

    async def RefreshProviderKeys(
        self, request: pb.RefreshProviderKeysRequest, context: Context
    ) -> pb.RefreshProviderKeysResponse:
        """Fetch the provider's keys now."""
        provider = self._find(request.provider)
        await self._verifier().key_sets.refresh(provider.name)
        return pb.RefreshProviderKeysResponse(provider=self._message(provider))
