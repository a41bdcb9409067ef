"""The tables of gateways, as operators write them."""

from typing import Annotated, Literal

from pydantic import Field

from tokenmint.base.config_values import Name, Table, TextList


class EnvoyTable(Table):
    """`[envoy]`: external authorization for a gateway, on the listener of exchanges.

    Off by default. The gateway is one of `[clients]`; the audience comes from its routes (`context_extensions`), or
    from this table by host.
    """

    enabled: bool = False
    audience: str | None = None
    """The default for hosts without an entry."""
    hosts: dict[str, str] = Field(default_factory=dict)
    cookie: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")] | None = None
    """The cookie that holds a browser's token, for requests without a token in a header."""
    headers: TextList = ()
    """Headers that may hold the token beside `Authorization`."""


class GatewayRouteTable(Table):
    """`[gateway.routes.NAME]`: a route of a gateway, which asks at `/auth/NAME`."""

    audience: str
    scopes: TextList = ()
    subject_token_type: Literal["id_token", "access_token", "jwt"] | None = None


class GatewayTable(EnvoyTable):
    """`[gateway]`: the same over HTTP, on the public HTTP listener.

    Off by default, as OAuth is: that listener is often reachable from outside.
    """

    host_header: Literal["x-forwarded-host", "x-original-url"] = "x-forwarded-host"
    """The header in which the gateway tells the host of the request. It has to replace the caller's."""
    routes: dict[Name, GatewayRouteTable] = Field(default_factory=dict)
