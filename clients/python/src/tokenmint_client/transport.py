"""The connection to tokenmint: TLS, credentials for each attempt, and gRPC's own retries."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from tokenmint_client.credentials import ClientCertificate, Credential
from tokenmint_client.loopback import is_loopback

SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "tokenmint.v1.TokenExchangeService"}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
"""UNAVAILABLE alone is retried. Where tokenmint says after which delay (RetryInfo), it says so to gRPC too."""

Options = Sequence[tuple[str, Any]]
_HOST_AND_PORT: Final = re.compile(r"(.+):\d+")


class _Plugin(grpc.AuthMetadataPlugin):
    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def __call__(self, _: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            metadata = self._credential.metadata()
        except Exception as error:  # noqa: BLE001  # any error ends this call and not gRPC's thread
            callback((), error)
        else:
            callback(metadata, None)


class Transport:
    """The settings of a channel. Without TLS only to this machine, and only where that is asked for.

    Args:
        target: ``host:port``.
        credential: what proves this client.
        ca_file: the authorities of tokenmint's certificate, in PEM. Default: gRPC's own.
        certificate: a client certificate for a ``credential`` of another kind.
        plaintext: speak without TLS, to a loopback address.
        options: further options of the channel.

    Raises:
        ValueError: plaintext beyond loopback.
        OSError: a file can't be read.
    """

    def __init__(
        self,
        target: str,
        credential: Credential,
        *,
        ca_file: str | Path | None,
        certificate: ClientCertificate | None,
        plaintext: bool,
        options: Options,
    ) -> None:
        if plaintext and not _on_this_machine(target):
            raise ValueError(f"plaintext is for loopback only, and {target!r} is not: secrets would travel in clear")
        self._target = target
        self._options = [("grpc.service_config", SERVICE_CONFIG), ("grpc.enable_retries", 1), *options]
        self._credential = credential
        self._channel_credentials: grpc.ChannelCredentials | None = None
        if not plaintext:
            own = credential if isinstance(credential, ClientCertificate) else certificate
            self._channel_credentials = grpc.composite_channel_credentials(
                grpc.ssl_channel_credentials(
                    Path(ca_file).read_bytes() if ca_file is not None else None,
                    own.key_file.read_bytes() if own is not None else None,
                    own.cert_file.read_bytes() if own is not None else None,
                ),
                grpc.metadata_call_credentials(_Plugin(credential)),
            )

    def open(self) -> grpc.Channel:
        """Open a channel for threads."""
        if self._channel_credentials is None:
            return grpc.insecure_channel(self._target, self._options)
        return grpc.secure_channel(self._target, self._channel_credentials, self._options)

    def open_aio(self) -> grpc.aio.Channel:
        """Open a channel for the running event loop."""
        if self._channel_credentials is None:
            return grpc.aio.insecure_channel(self._target, self._options)
        return grpc.aio.secure_channel(self._target, self._channel_credentials, self._options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what a call has to bring itself: over TLS the channel adds the credential."""
        return self._credential.metadata() if self._channel_credentials is None else ()


def _on_this_machine(target: str) -> bool:
    found = _HOST_AND_PORT.fullmatch(target)
    return target.startswith("unix:") or (found is not None and is_loopback(found[1]))
