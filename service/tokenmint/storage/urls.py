"""The place of the store: the forms of its URL, and their meaning."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tokenmint.base.errors import ConfigurationError

FORMS = (
    "redis://host:port/db, rediss://host:port/db (TLS), unix:///path/to/socket?db=0, "
    "redis+sentinel://host:port,host:port/service/db or redis+cluster://host:port,host:port "
    "(rediss+sentinel and rediss+cluster with TLS)"
)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A parsed store URL. ``kind`` is `server`, `sentinel` or `cluster`."""

    kind: str
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    database: int = 0
    socket_path: str | None = None
    service: str | None = None
    """The name under which the sentinels know the primary."""
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"StoreUrl({self.describe()!r})"

    def describe(self) -> str:
        """Return the URL without credentials, for logs and messages."""
        place = self.socket_path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.kind} {place}"


def parse(url: str) -> StoreUrl:
    """Parse a store URL. Raises ``ConfigurationError`` that names the accepted forms and never repeats the URL."""
    try:
        return _parse(url)
    except ValueError:
        raise ConfigurationError(f"redis.url: not a store URL; expected {FORMS}") from None


def _parse(url: str) -> StoreUrl:
    scheme, _, rest = url.partition("://")
    if not rest or not url.isprintable() or " " in url or "\0" in unquote(url):
        raise ValueError(scheme)
    if scheme == "unix":
        parts = urlsplit(url)
        query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
        if query.keys() - {"db"} or parts.fragment:
            raise ValueError(scheme)
        return StoreUrl(
            "server",
            tls=False,
            hosts=(),
            database=int(query.get("db", "0")),
            socket_path=unquote(parts.path),
            username=parts.username or None,
            password=unquote(parts.password) if parts.password else None,
        )
    base, _, mode = scheme.partition("+")
    if base not in ("redis", "rediss") or mode not in ("", "sentinel", "cluster"):
        raise ValueError(scheme)
    if "?" in rest.rpartition("@")[2] or "#" in rest.rpartition("@")[2]:
        raise ValueError(scheme)  # an ignored option, such as one for TLS, would look as if it were in force
    authority, _, path = rest.partition("/")
    credentials, _, host_list = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts = tuple(_host(item, 26379 if mode == "sentinel" else 6379) for item in host_list.split(","))
    segments = [segment for segment in path.split("/") if segment]
    if (mode == "" and len(hosts) > 1) or (mode == "cluster" and segments not in ([], ["0"])):
        raise ValueError(scheme)
    if mode == "sentinel" and not segments:
        raise ValueError(scheme)
    service = segments.pop(0) if mode == "sentinel" else None
    return StoreUrl(
        mode or "server",
        tls=base == "rediss",
        hosts=hosts,
        database=int(segments[0]) if segments else 0,
        service=service,
        username=unquote(username) or None,
        password=unquote(password) or None,
    )


def _host(item: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{item}")
    if not parts.hostname:
        raise ValueError(item)
    return parts.hostname, parts.port or default_port
