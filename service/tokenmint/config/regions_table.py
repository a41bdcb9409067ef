"""The table `[regions]`, as operators write it."""

from typing import Annotated

from pydantic import Field

from tokenmint.base.config_values import Name, Seconds, Table

RegionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""The name of a region, which begins the ids of its keys."""


class OtherRegionTable(Table):
    """`[regions.others.NAME]`: another region of the same issuer."""

    url: str
    keys_file: str
    """The JWK set with the public keys that prove its documents."""
    ca_file: str | None = None
    allow_private: bool = False


class RegionsTable(Table):
    """`[regions]`: this region, and the others of the same issuer."""

    name: RegionName | None = None
    key_file: str | None = None
    """The private key that signs what this region tells the others."""
    authority_file: str | None = None
    """The JWK set with the public keys that prove that a region was given up."""
    longest_cut: Annotated[Seconds, Field(ge=1, le=7 * 86400)] = 3600.0
    """L: the longest time for which a region may be cut off from new keys of another one."""
    poll: Annotated[Seconds, Field(ge=0.1, le=60)] = 1.0
    """The time between two pulls from each other region."""
    profiles: bool = False
    """Whether profiles have a home region, and are copied to the others."""
    others: dict[Name, OtherRegionTable] = Field(default_factory=dict)
