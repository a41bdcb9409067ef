"""Files of a volume that Kubernetes renews by the swap of one symbolic link, also those for a proxy, under calls."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.test_renewed_files import AUDIENCE, an_issuer, both, exchange, key_ids, reason
from tests.fakes import FakeClock
from tests.providers import NAME, Documents, ProxySeen, ending_tls, provider, proxy
from tests.rig import Rig, Serve, refusal
from tests.tls import Authority, authority

from tokenmint.v1 import provider_admin_service_pb2 as providers_pb

pytestmark = pytest.mark.processes

EXTRA = f"""
[proxy]
url = "https://localhost:@PORT@"
username = "svc"
password_file = "volume/password"
ca_file = "volume/proxy.crt"

[audiences."{AUDIENCE}"]
clients = ["web"]
providers = ["filed", "proxied"]
on_missing_profile = "without"

[providers.filed]
issuer = "https://filed.example"
audiences = ["app"]
jwks_file = "volume/filed.jwks"

[providers.proxied]
issuer = "https://proxied.example"
audiences = ["app"]
jwks_url = "https://{NAME}/jwks"
ca_file = "volume/ca.crt"
bearer_token_file = "volume/token"
"""
REFRESH = providers_pb.RefreshProviderKeysRequest(provider="proxied")


@dataclass
class Volume:
    """A directory as the kubelet mounts it: each file is a link through `..data`, which is swapped."""

    directory: Path
    contents: dict[str, bytes] = field(default_factory=dict)
    swaps: int = 0

    def swap(self, **renewed: bytes) -> None:
        """Put other contents into files; `_` in a name stands for a dot."""
        self.contents |= {name.replace("_", "."): content for name, content in renewed.items()}
        self.swaps += 1
        version = self.directory / f"..version-{self.swaps}"
        version.mkdir(parents=True)
        for name, content in self.contents.items():
            (version / name).write_bytes(content)
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(Path("..data", name))
        (self.directory / "..next").symlink_to(version.name)
        (self.directory / "..next").rename(self.directory / "..data")


@dataclass
class Site:
    """A provider behind a proxy that ends TLS itself, and the service's files for both."""

    volume: Volume
    idp: Documents
    proxy: ProxySeen
    logins: set[str]
    ca: Authority
    proxy_ca: Authority


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    ca, proxy_ca, logins = authority(), authority("Proxy"), {"svc:one"}
    (tmp_path / "proxy").mkdir()
    volume = Volume(tmp_path / "volume")
    volume.swap(
        filed_jwks=an_issuer("filed", 0).jwks(),
        ca_crt=ca.pem,
        proxy_crt=proxy_ca.pem,
        password=b"one\n",
        token=b"token-1",
    )
    with contextlib.ExitStack() as stack:
        idp = stack.enter_context(provider(ending_tls(tmp_path, ca, NAME), jwks=an_issuer("proxied", 0).jwks()))
        idp.headers["Cache-Control"] = "max-age=60"
        tls = ending_tls(tmp_path / "proxy", proxy_ca)
        seen = stack.enter_context(proxy({f"{NAME}:443": idp.port}, login=logins, tls=tls))
        yield Site(volume, idp, seen, logins, ca, proxy_ca)


@pytest.fixture
async def rig(serve: Serve, site: Site) -> AsyncIterator[Rig]:
    async with serve(EXTRA.replace("@PORT@", str(site.proxy.port))) as made:
        yield made


async def test_no_call_is_lost_while_a_volume_is_swapped(rig: Rig, site: Site, clock: FakeClock) -> None:
    calls, ended = 0, asyncio.Event()

    async def call() -> None:
        nonlocal calls
        while not ended.is_set():
            for issuer in (an_issuer("filed", 0), an_issuer("proxied", 0)):
                assert await exchange(rig, issuer)
                calls += 1

    def went_on(before: int) -> bool:
        return calling.done() or calls > before + 1

    next_one, next_proxy = authority("The next one"), authority("The next proxy")
    site.logins |= {"svc:two"}
    calling = asyncio.ensure_future(call())
    for renewed in (
        {"filed_jwks": both(an_issuer("filed", 0), an_issuer("filed", 1))},
        {"password": b"two"},
        {"token": b"token-2"},
        {"ca_crt": site.ca.pem + next_one.pem, "proxy_crt": site.proxy_ca.pem + next_proxy.pem},
        {name.replace(".", "_"): b"\n" for name in site.volume.contents},  # a volume that went wrong
        dict(site.volume.contents) | {"filed_jwks": an_issuer("filed", 0).jwks()},
    ):
        site.volume.swap(**{name.replace(".", "_"): content for name, content in renewed.items()})
        await rig.providers.RefreshProviderKeys(REFRESH, **rig.auth("root"))
        await rig.let_pass(1)
        await rig.until(partial(went_on, calls))
    ended.set()
    await calling


async def test_what_a_swap_takes_out_serves_nobody(rig: Rig, site: Site, clock: FakeClock) -> None:
    site.logins |= {"svc:two"}
    site.volume.swap(filed_jwks=an_issuer("filed", 1).jwks(), password=b"two", token=b"token-2")
    await rig.until(lambda: key_ids(rig, "filed") == ("filed-1",))
    assert await reason(rig, an_issuer("filed", 0)) == "UNKNOWN_KEY"
    site.logins.remove("svc:one")
    await rig.providers.RefreshProviderKeys(REFRESH, **rig.auth("root"))
    assert site.idp.sent("authorization")[-1] == "Bearer token-2"
    assert b"token" not in site.proxy.passed

    for name, trusted in (("proxy_crt", site.proxy_ca), ("ca_crt", site.ca)):
        asked = len(site.idp.asked)
        site.volume.swap(**{name: authority("Another").pem})
        told = await refusal(rig.providers.RefreshProviderKeys(REFRESH, **rig.auth("root")))
        assert "certificate is not accepted" in told.message
        assert len(site.idp.asked) == asked
        site.volume.swap(**{name: trusted.pem})
    await rig.providers.RefreshProviderKeys(REFRESH, **rig.auth("root"))
