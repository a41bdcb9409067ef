"""docs/guides/openbao.md with OpenBao itself: the blocks that are marked `relying-parties`."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import jwt
import pytest
from tests import plain_http
from tests.guide_settings import partner, web_token
from tests.guides import GUIDES, Setting, Walk
from tests.issuer import Issuer, serving
from tests.polling import wait_until

ISSUER: Final = 'issuer = "https://tokens.example.com"           # reachable from outside, without a port\n'


@contextmanager
def openbao(directory: Path) -> Iterator[str]:
    """Run a development server on loopback, and yield its address."""
    bao = shutil.which("bao", path=str(Path(sys.executable).parent))
    if bao is None:
        missing = "OpenBao is not installed: `make test-relying-parties` installs it"
        if os.environ.get("TOKENMINT_REQUIRE_LANES"):
            pytest.fail(missing)
        pytest.skip(missing)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [
        bao,
        "server",
        "-dev",
        "-dev-no-store-token",
        "-dev-root-token-id=root",
        f"-dev-listen-address={address}",
    ]
    with (directory / "openbao.log").open("w") as log:
        server = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, env={"HOME": str(directory)})
        try:
            wait_until(lambda: answers(f"http://{address}/v1/sys/health"))
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(20)


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        return plain_http.get(url).status_code == 200
    except (OSError, httpx2.TransportError):
        return False


def test_openbao_itself_takes_our_token(tmp_path: Path) -> None:
    """The issuer is the address of the service, because OpenBao fetches from there."""
    with openbao(tmp_path) as address, serving(Issuer()) as issuer:
        environ = {"BAO_ADDR": address, "BAO_TOKEN": "root", "HOME": str(tmp_path)}
        setting = Setting([partner(), (ISSUER, "")], web_token, environ=environ)
        walk = Walk(GUIDES / "openbao.md", tmp_path, issuer, setting)
        try:
            walk.serve()
            assert walk.service is not None
            walk.addresses["https://tokens.example.com"] = f"http://{walk.service.listen['http']}"
            enable, login = (block for block in walk.blocks if block.mark == "relying-parties")
            plain = [block for block in walk.blocks if block.kind == "sh" and not block.mark]
            answer = walk.blocks[walk.blocks.index(login) + 1]
            walk.step(enable, None)
            for block in plain:
                walk.step(block, None)
            walk.step(login, answer)
            refused(walk, "another-subject", "bound_subject=deployer", "bound_subject=another", enable.text, login.text)
            refused(
                walk,
                "another-audience",
                "bound_audiences=https://bao",
                "bound_audiences=https://x",
                enable.text,
                login.text,
            )
            keys_of_openbao(walk, enable.text, login.text)
        finally:
            walk.stop()


def keys_of_openbao(walk: Walk, enable: str, login: str) -> None:
    """Check what the guide says of keys: a new one works at once, and a revoked one until the configuration is written
    again, because the next key was published before and leads to no fetch.
    """
    old = login.replace("@token.txt", "@old.txt")
    exchange = next(block.text for block in walk.blocks if block.text.startswith("tokenmint token exchange"))
    assert walk.run("cp token.txt old.txt").returncode == 0
    key_id = jwt.get_unverified_header((walk.directory / "token.txt").read_text().strip())["kid"]
    revoked = walk.run(f"tokenmint keys revoke {key_id} --reason test --yes")
    assert revoked.returncode == 0, revoked.stderr
    assert walk.run(exchange + login).returncode == 0
    assert walk.run(old).returncode == 0
    again = enable[enable.index("bao write auth/jwt/config") : enable.index("bao write auth/jwt/role")]
    assert walk.run(again).returncode == 0
    assert walk.run(old).returncode != 0
    assert walk.run(login).returncode == 0


def refused(walk: Walk, role: str, before: str, after: str, enable: str, login: str) -> None:
    """Check that another role refuses the token."""
    written = enable[enable.index("bao write auth/jwt/role") :].replace("role/deployer", f"role/{role}")
    assert before in written
    assert walk.run(written.replace(before, after)).returncode == 0
    assert walk.run(login.replace("role=deployer", f"role={role}")).returncode != 0
