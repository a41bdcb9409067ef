from pathlib import Path

from tests.both_ways import both_ways
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer, serving


async def test_x(tmp_path: Path, redis_url: str, redis_prefix: str, clock: FakeClock, entropy: FakeEntropy) -> None:
    with serving(Issuer()) as issuer:
        async with both_ways(tmp_path, redis_url, redis_prefix, issuer, clock, entropy) as ways:
            await ways.check(recognised=True)
            await ways.check(ways.request(ways.token(aud="x")), recognised=False)
