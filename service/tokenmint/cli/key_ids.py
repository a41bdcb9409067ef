"""Key ids that are typed in part: the beginning of an id names the key, if no other id begins so."""

from collections.abc import Callable
from typing import Any, Final

import grpc
import typer

from tokenmint.base.errors import ConfigurationError, NotFound
from tokenmint.cli.connection import pages
from tokenmint.cli.output import plain
from tokenmint.v1 import key_admin_service_pb2 as pb

WHOLE: Final = 43  # characters of a SHA-256 thumbprint in base64url (RFC 7638 section 3)
LISTED: Final = 20  # candidates in an error

KeyId = typer.Argument(metavar="key-id", help="The key's id, or the beginning of it that no other key has.")


def whole_id(given: str, list_keys: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """Return the id of the key whose id begins with ``given``.

    Raises:
        NotFound: no key has such an id.
        ConfigurationError: several keys have such an id.
    """
    if not given or len(given) >= WHOLE:
        return given
    try:
        keys = pages(list_keys, pb.ListSigningKeysRequest(page_size=1000), "signing_keys", arguments)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:  # an operator that may change keys, but not list them
            return given
        raise
    found: list[str] = sorted(key.key_id for key in keys if key.key_id.startswith(given))
    if not found:
        raise NotFound("signing key", given)
    if given in found:
        return given
    if len(found) > 1:
        listed = "".join(f"\n  {plain(one)}" for one in found[:LISTED])
        more = f"\n  and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise ConfigurationError(f"{len(found)} keys have an id that begins with {plain(given)!r}:{listed}{more}")
    return found[0]
