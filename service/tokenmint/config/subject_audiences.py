"""Grants for other servers, from tokens of several apps: a token has to be for the app of the client that sends it.

draft-ietf-oauth-identity-assertion-authz-grant section 4.3.3. The ids of apps at a provider are not those of clients
here, so a condition compares them. Without one, each client of the audience could use a token that another app got.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tokenmint.base.key_path import key_path
from tokenmint.formats import id_jag, jwt_grant
from tokenmint.model.policy import Audience
from tokenmint.verification.provider import Provider

ABROAD: Final = frozenset({id_jag.FORMAT.traits.name, jwt_grant.FORMAT.traits.name})
"""The formats of grants for other servers."""
_COMPARED: Final = re.compile(r"\bassertion\.(aud|azp)\b")


def uncompared_audiences(audiences: Mapping[str, Audience], providers: Mapping[str, Provider]) -> Iterator[str]:
    """Yield a warning for each audience of such grants that takes tokens of several apps, and compares none.

    Args:
        audiences: by name.
        providers: those that are configured, by name.
    """
    for name, audience in audiences.items():
        if audience.format.name not in ABROAD or _COMPARED.search(audience.condition or ""):
            continue
        for provider in sorted(audience.providers & providers.keys()):
            accepted = sorted(providers[provider].audiences)
            if len(accepted) > 1 and not _COMPARED.search(providers[provider].condition or ""):
                client = min(audience.clients, default="CLIENT")
                yield (
                    f"{key_path('audiences', name)}.condition: tokens of {key_path('providers', provider)} may be for "
                    f"{len(accepted)} apps, and each client may exchange those of all of them: compare, as in "
                    f"client.id == '{client}' && assertion.aud == '{accepted[0]}'"
                )
