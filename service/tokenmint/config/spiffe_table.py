"""The table `[spiffe]`, as operators write it."""

from typing import Annotated

from pydantic import AfterValidator

from tokenmint.base.config_values import Table
from tokenmint.base.spiffe_id import is_trust_domain


def _trust_domain(value: str) -> str:
    if not is_trust_domain(value):
        raise ValueError(
            "expected the name of a trust domain: a-z, 0-9, ., - and _, 255 at most (SPIFFE-ID section 2.1)"
        )
    return value


class SpiffeTable(Table):
    """`[spiffe]`: the trust domain of minted JWT-SVIDs. With it, the bundle endpoint is served."""

    trust_domain: Annotated[str, AfterValidator(_trust_domain)] | None = None
