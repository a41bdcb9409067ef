"""From the table of regions to the options that the service works with."""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from tokenmint.base.durations import spoken
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.key_path import key_path
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.tls_files import CA_FILE, client_tls
from tokenmint.config.regions_table import OtherRegionTable
from tokenmint.config.tables import File
from tokenmint.model.proxies import Proxy
from tokenmint.regions.identity import Identity, read_identity
from tokenmint.regions.options import OtherRegion, RegionOptions
from tokenmint.verification.jwk_set import ParsedKeySet
from tokenmint.verification.key_file import usable_keys
from tokenmint.verification.key_source import KeySource

TIMEOUT: Final = 5.0  # seconds for one document
MOST_PINNED: Final = 8
T = TypeVar("T")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


def region_options(file: File, base: Path, proxy: Proxy | None, problems: list[str]) -> RegionOptions:
    """Return the regions, and add their problems to ``problems``."""
    table = file.regions
    problems.extend(_problems(file))
    files = _Files(base, problems)
    others: dict[str, OtherRegion] = {}
    for name, other in table.others.items():
        path = key_path("regions", "others", name)
        keys, source = files.keys(f"{path}.keys_file", other.keys_file), _source(path, other, base, proxy, problems)
        if keys is not None and source is not None:
            others[name] = OtherRegion(name, source, keys)
    options = RegionOptions(
        name=table.name or "",
        poll=table.poll,
        longest_cut=table.longest_cut if table.others else 0.0,
        profiles=table.profiles and bool(table.others),
        identity=files.identity("regions.key_file", table.key_file),
        authority=files.keys("regions.authority_file", table.authority_file),
        others=MappingProxyType(others),
    )
    problems.extend(_shared_keys(options))
    return options


def epoch_base(region: str) -> int:
    """Return the first number of a region's epochs: a place in one region's log is none in another's.

    Without a region it is 0. Each region has 2,048 epochs, one for each loss of its store.
    """
    return (1 + zlib.crc32(region.encode()) % (1 << 20)) << 11 if region else 0


def _problems(file: File) -> Iterator[str]:
    table = file.regions
    if not table.others:
        return
    for key in ("name", "key_file", "authority_file"):
        if getattr(table, key) is None:
            yield f"regions.{key}: is required with other regions: `tokenmint regions new-key` makes keys"
    if file.issuer is None:
        yield "issuer: is required with other regions: the same in all of them"
    if table.name in table.others:
        yield f"{key_path('regions', 'others', str(table.name))}: is this region itself: leave it out"
    least = file.keys.replica_lag + file.keys.skew + 3 * table.poll
    if table.longest_cut < least:
        yield (
            f"regions.longest_cut: is {spoken(table.longest_cut)}, and has to be at least keys.replica_lag + "
            f"keys.skew + 3 * regions.poll = {spoken(least)}: otherwise each delay counts as a cut"
        )
    bases: dict[int, str] = {}
    for name in (*([table.name] if table.name else []), *table.others):
        path = key_path("regions", "others", name)
        if not _NAME.fullmatch(name):
            yield f"{path}: a region's name has a-z, 0-9 and -, begins with a letter, and has 32 characters at most"
        elif name != bases.setdefault(epoch_base(name), name):
            yield f"{path}: can't be told from {bases[epoch_base(name)]!r}: choose another name"
    for name, audience in file.audiences.items():
        if audience.status_list:
            yield (
                f"{key_path('audiences', name, 'status_list')}: a list is of one region, and verifiers look for it at "
                "the issuer: not with other regions"
            )


def _source(
    path: str, table: OtherRegionTable, base: Path, proxy: Proxy | None, problems: list[str]
) -> KeySource | None:
    try:
        url = HttpUrl.parse(table.url)
    except BadUrl as error:
        problems.append(f"{path}.url: {error}")
        return None
    if table.url.endswith("/") or set("?#") & set(table.url):
        problems.append(f"{path}.url: expected a URL without query, fragment and trailing slash")
    elif url.scheme != "https" and not (url.is_loopback and table.allow_private):
        problems.append(f"{path}.url: expected https (http only on loopback, with allow_private = true)")
    ca_file = str(base / table.ca_file) if table.ca_file is not None else None
    if ca_file is not None:
        try:
            client_tls(path, {CA_FILE: Path(ca_file)})
        except ConfigurationError as error:
            problems.append(error.message)
    return KeySource(
        "jwks", table.url, ca_file=ca_file, allow_private=table.allow_private, timeout=TIMEOUT, proxy=proxy
    )


def _shared_keys(options: RegionOptions) -> Iterator[str]:
    """Yield a problem for each key that proves two of: the regions, and the authority."""
    proofs: list[tuple[str, frozenset[str]]] = []
    if options.identity is not None:
        proofs.append(("regions.key_file", frozenset({options.identity.value.public_jwk["kid"]})))
    if options.authority is not None:
        proofs.append(("regions.authority_file", _prints(options.authority.value)))
    for name, other in options.others.items():
        proofs.append((f"{key_path('regions', 'others', name)}.keys_file", _prints(other.keys.value)))
    for index, (setting, prints) in enumerate(proofs):
        for before, taken in proofs[:index]:
            if prints & taken:
                yield f"{setting}: has a key of {before}: each region, and the authority, needs a key of its own"


def _prints(keys: ParsedKeySet) -> frozenset[str]:
    return frozenset(key.thumbprint for key in keys.keys)


class _Files:
    """Reads the files with keys, and follows them.

    Args:
        base: the directory of relative paths.
        problems: receives the problems.
    """

    def __init__(self, base: Path, problems: list[str]) -> None:
        self._base = base
        self._problems = problems

    def keys(self, setting: str, name: str | None) -> RenewedFiles[ParsedKeySet] | None:
        """Return a set of pinned keys."""
        return self._read(setting, name, lambda texts: usable_keys(setting, texts[0], MOST_PINNED))

    def identity(self, setting: str, name: str | None) -> RenewedFiles[Identity] | None:
        """Return a private key."""
        return self._read(setting, name, lambda texts: read_identity(setting, texts))

    def _read(self, setting: str, name: str | None, made: Callable[[Sequence[bytes]], T]) -> RenewedFiles[T] | None:
        if name is None:
            return None
        try:
            return RenewedFiles([(setting, self._base / name)], made)
        except ConfigurationError as error:
            self._problems.append(error.message)
            return None
