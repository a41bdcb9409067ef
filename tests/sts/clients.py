"""Runs the drivers, and judges what their clients report."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import jwt
from tests.process import environment
from tests.sts.rows import GO, JAVA, NODE, PYTHON, Row
from tests.sts.table import Outcome
from tests.sts.world import World

DRIVERS: Final = Path(__file__).parent / "drivers"
ROWS: Final[Mapping[str, tuple[Row, ...]]] = {"python": PYTHON, "node": NODE, "go": GO, "java": JAVA}
MISSING: Final = 77  # the status of a build whose toolchain is not there
BUILD_LIMIT: Final = 900.0  # seconds
RUN_LIMIT: Final = 120.0  # seconds
SERVERS: Final = "the servers of other projects"


def build(language: str) -> str:
    """Build a driver. Returns an empty text, or why it is not there."""
    done = subprocess.run(
        [DRIVERS / language / "build"], capture_output=True, text=True, timeout=BUILD_LIMIT, check=False
    )
    if done.returncode == 0:
        return ""
    missing = "skipped" if done.returncode == MISSING else "FAILED"
    return f"{missing}: {(done.stdout + done.stderr).strip()[-2000:]}"


def build_all(languages: Iterable[str]) -> dict[str, str]:
    """Build drivers, all at a time: most of it is waiting for registries. Returns as :func:`build`, by language."""
    told: dict[str, str] = {}
    threads = [threading.Thread(target=lambda name=name: told.update({name: build(name)})) for name in languages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def variables(live: World) -> dict[str, str]:
    """The environment of a driver: the authority of the certificates, in the ways of its libraries."""
    file = str(live.path("ca.pem"))
    return environment(SSL_CERT_FILE=file, REQUESTS_CA_BUNDLE=file, NO_PROXY="localhost,127.0.0.1")


@contextmanager
def servers(live: World) -> Iterator[None]:
    """Run the servers that are made of other projects' packages."""
    file = write_document(live)
    with live.path("servers.log").open("wb") as errors:
        process = subprocess.Popen(
            [DRIVERS / "python" / "run", file, "servers"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables(live),
        )  # fmt: skip
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise AssertionError(f"{SERVERS} did not start: {live.path('servers.log').read_text()[-3000:]}")
        yield
    finally:
        process.kill()
        process.communicate()


def write_document(live: World) -> Path:
    """Write what drivers have to know, with an ID-JAG for a driver that can't get one by itself."""
    file = live.path("world.json")
    file.write_text(json.dumps(live.document() | {"id_jag_spring": live.id_jag()}))
    return file


def run(language: str, live: World) -> list[Outcome]:
    """Run one driver, and return the outcome of each of its rows."""
    done = subprocess.run(
        [DRIVERS / language / "run", write_document(live)],
        capture_output=True, text=True, timeout=RUN_LIMIT, check=False, env=variables(live),
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    by_name = {(one["client"], one["flow"]): one for one in told}
    outcomes = [_judged(row, by_name.pop((row.client, row.flow), None), live) for row in ROWS[language]]
    if by_name or done.returncode:
        fault = f"unexpected rows {sorted(by_name)}, status {done.returncode}: {done.stderr[-3000:]}"
        outcomes.append(Outcome(language, "the driver ends", fault))
    return outcomes


def _judged(row: Row, told: Mapping[str, Any] | None, live: World) -> Outcome:
    if told is None:
        fault = "the driver reports no such row"
    elif row.refusal or "error" in told:
        error = told.get("error", "")
        fault = "" if row.refusal and row.refusal in error else f"expected {row.refusal or 'a token'}, not {error!r}"
    else:
        try:
            check(row, told, live)
            fault = ""
        except (AssertionError, KeyError, jwt.PyJWTError) as error:
            fault = f"{type(error).__name__}: {error}"
    return Outcome(row.client, row.flow, fault, row.remark, refused=bool(row.refusal))


def check(row: Row, told: Mapping[str, Any], live: World) -> None:
    """Verify the token of a row with PyJWT, and compare it. Raises if it is not as expected."""
    seen = told.get("seen", {})
    expected = _addressed(row.seen, live)
    assert {name: seen.get(name) for name in expected} == expected, f"saw {seen}"
    if not row.issuer:
        return
    claims = verified(told["token"], row.issuer, live, typ=row.typ)
    wanted = _addressed(row.claims, live)
    assert {name: claims.get(name) for name in wanted} == wanted, f"claims {claims}"
    assert ("act" in claims) is ("act" in row.claims), f"claims {claims}"
    assert claims.get("cnf") == ({"jkt": told["jkt"]} if row.bound else None), f"claims {claims}"
    if told.get("scope"):
        assert told["scope"] == claims["scope"]


def verified(token: str, issuer: str, live: World, *, typ: str) -> dict[str, Any]:
    """Return the claims of a token after verification with the published keys of a service."""
    header = jwt.get_unverified_header(token)
    assert header["typ"] == typ, header
    [key] = [jwt.PyJWK(one) for one in live.keys(issuer) if one["kid"] == header["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["ES256"], issuer=live.urls[issuer],
        options={"verify_aud": False, "require": ["exp", "iat", "jti", "aud", "sub"]},
    )  # fmt: skip
    return claims


def _addressed(members: Mapping[str, Any], live: World) -> dict[str, Any]:
    """Return members with the addresses of servers in place of their names."""
    return {name: value.format(**live.urls) if isinstance(value, str) else value for name, value in members.items()}


def required() -> bool:
    """Whether a missing toolchain fails the lane."""
    return bool(os.environ.get("TOKENMINT_REQUIRE_LANES"))


def say(text: str) -> None:
    """Tell of progress."""
    print(text, file=sys.stderr, flush=True)
