"""The table `[status_lists]`, as operators write it."""

from typing import Annotated

from pydantic import Field

from tokenmint.base.config_values import Seconds, Table


class StatusListsTable(Table):
    """`[status_lists]`: the lists of revoked tokens that verifiers fetch (Token Status List)."""

    size: Annotated[int, Field(ge=1000, le=1_000_000)] = 100_000
    """Tokens of a list. A larger one hides more, and takes longer to fetch."""
    ttl: Annotated[Seconds, Field(ge=4, le=3600)] = 60.0
    """For how long verifiers keep a list before they fetch it again."""
    valid_for: Annotated[Seconds, Field(ge=8, le=24 * 3600)] = 300.0
    """For how long a list may be used at most, if no newer one can be had."""
