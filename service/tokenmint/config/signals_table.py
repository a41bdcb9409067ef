"""The table `[providers.NAME.signals]`, as it is written."""

from typing import Annotated

from pydantic import Field

from tokenmint.base.config_values import Seconds, Table, TextList, TextSet
from tokenmint.config.tables import RateTable


class PollTable(Table):
    """`[providers.NAME.signals.poll]`: polls for signals (RFC 8936), of a transmitter that can't push them."""

    url: str
    """The stream's endpoint for polls."""
    interval: Annotated[Seconds, Field(ge=1, le=3600)] = 10.0
    """The pause after a poll that brought nothing."""
    max_events: Annotated[int, Field(ge=1, le=100)] = 32


class SignalsTable(Table):
    """`[providers.NAME.signals]`: signals of a provider about its accounts."""

    deliveries: TextSet | None = None
    """The forms that are accepted: `secevent`, `logout`, `apple`."""
    issuers: TextSet | None = None
    """The exact `iss` of event tokens; default: the provider's issuers."""
    audiences: TextSet | None = None
    """Their audiences; default: the provider's."""
    events: dict[str, str] = Field(default_factory=dict)
    """Actions by the type of event, beside the defaults."""
    untyped: bool | None = None
    """Whether the header's `typ` may be missing, or `JWT`."""
    subjects: dict[str, str] = Field(default_factory=dict)
    """By the format of a subject identifier: the claim that its value stands for."""
    max_age: Annotated[Seconds, Field(ge=60, le=90 * 86400)] | None = None
    rate: RateTable = RateTable(per_second=20.0, burst=200)
    peer_rate: RateTable = RateTable(per_second=20.0, burst=200)
    push_secrets: TextList = ()
    """`sha256:` and the hash of the bearer token that pushes need."""
    transmitter: str | None = None
    """The issuer of the transmitter's metadata; default: the provider's only issuer."""
    token_file: str | None = None
    """The bearer token for the transmitter."""
    poll: PollTable | None = None
