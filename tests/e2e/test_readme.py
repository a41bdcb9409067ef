"""Every command and every piece of configuration and Python in the README is executed."""

import re
import shlex
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer
from tests.pages import PORTS, ROOT, blocks_of, installed_shell, shell, texts
from tests.process import Service

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load

pytestmark = pytest.mark.processes

README = (ROOT / "README.md").read_text()
ALONE = ("tokenmint token inspect", "tokenmint token verify", "tokenmint clients new-secret")
"""Commands that call no listener of gRPC."""
CLIENTS = re.compile(r"tokenmint token (exchange|introspect|revoke) ")


def blocks(kind: str) -> list[str]:
    return texts(ROOT / "README.md", kind)


def commands() -> list[str]:
    lines = [line.partition("    #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = [line for line in commands() if line.startswith("make ")]
    assert targets == ["make demo", "make test"]
    for line in targets:
        assert subprocess.run([*shlex.split(line), "-n"], cwd=ROOT, capture_output=True, check=False).returncode == 0


def fresh(issuer: Issuer) -> str:
    """A token from after the second of the README's `revoke-tokens`."""
    return issuer.token(time.time() + 5)


def test_every_command_does_what_it_is_shown_for(tmp_path: Path, issuer: Issuer) -> None:
    """In the README's order, in one directory, with the provider replaced by one that is at hand."""
    environ: dict[str, str] = {}
    service: Service | None = None
    said: dict[str, str] = {}
    ran: list[str] = []
    try:
        for line in commands():
            if line.startswith("make "):
                continue
            if line.startswith("export TOKENMINT_"):  # the same terminal keeps it
                said = dict(item.split("=") for item in line.removeprefix("export ").split())
                environ |= said
                continue
            if line == "tokenmint serve":
                service = ForkedService(tmp_path, **PORTS)
                continue
            if service is not None:
                line = line.replace("127.0.0.1:8080", service.listen["http"])
                caller, listener = ("web", "grpc") if CLIENTS.match(line) else ("admin", "admin")
                environ |= {"TOKENMINT_TARGET": service.listen[listener]}
                if "tokenmint " in line and not line.startswith(ALONE):
                    assert said == {"TOKENMINT_CLIENT_ID": caller, "TOKENMINT_SECRET_FILE": f"{caller}.secret"}, line
            if "token exchange" in line:
                (tmp_path / "id-token.txt").write_text(fresh(issuer))
            outcome = (shell if ran else installed_shell)(tmp_path, line, **environ)
            assert outcome.returncode == 0, f"{line}\n{outcome.stdout}\n{outcome.stderr}"
            ran.append(line)
            if line == "tokenmint init --secret-files":
                _use(tmp_path / "tokenmint.toml", issuer)
        assert service is not None
        _python_blocks_work(tmp_path, service, issuer)
    finally:
        if service is not None:
            service.stop()
    assert len(ran) > 15
    assert "1842" not in (tmp_path / "token.txt").read_text()


def _use(config: Path, issuer: Issuer) -> None:
    text = config.read_text()
    google = 'use = "google"\naudiences = ["CHANGE-ME.apps.googleusercontent.com"]'
    assert google in text
    config.write_text(text.replace(google, f'issuer = "{issuer.url}"\naudiences = ["app"]\nallow_private = true'))


def _python_blocks_work(directory: Path, service: Service, issuer: Issuer) -> None:
    exchange, verify = blocks("python")
    names: dict[str, object] = {
        "target": service.listen["grpc"],
        "id_token": fresh(issuer),
        "secret": (directory / "web.secret").read_text().strip(),
        "issuer": f"http://{service.listen['http']}",
    }
    exec(exchange, names)  # noqa: S102  # that it runs is what is tested
    names["token"] = names["answer"].token  # type: ignore[attr-defined]
    exec(verify, names)  # noqa: S102  # as above
    assert names["claims"]["sub"] == "ada"  # type: ignore[index]


def test_the_configuration_that_is_shown_is_accepted(tmp_path: Path) -> None:
    text = "\n".join(blocks("toml"))
    assert len(tomllib.loads(text)["providers"]) == 3
    config = tmp_path / "tokenmint.toml"
    config.write_text(text)
    settings = load(config, {})
    assert settings.audiences["https://orders.example.com"].clients == {"web"}


def test_every_block_is_one_that_something_executes() -> None:
    kinds = {block.kind for block in blocks_of(ROOT / "README.md")}
    assert kinds == {"", "sh", "toml", "python", "js"}
    assert "README.md" in (ROOT / "tests" / "interop" / "test_guide.py").read_text()  # which executes js


def test_every_link_leads_somewhere() -> None:
    for text in [README, *((ROOT / "docs" / name).read_text() for name in ("architecture.md", "keys.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target


def test_the_deployment_that_is_shown(tmp_path: Path) -> None:
    """deploy/README.md's commands make what the example asks for, and only placeholders are left to fill in."""
    (tmp_path / "deploy").mkdir()
    example = (ROOT / "deploy" / "tokenmint.example.toml").read_text()
    (tmp_path / "deploy" / "tokenmint.example.toml").write_text(example)
    for line in texts(ROOT / "deploy" / "README.md", "sh")[0].splitlines():
        assert shell(tmp_path, line).returncode == 0, line
    config = tmp_path / "deploy" / "tokenmint.toml"
    text = config.read_text().replace("/run/secrets/", f"{tmp_path}/deploy/secrets/")
    config.write_text(text)
    with pytest.raises(ConfigurationError) as unfilled:
        load(config, {})
    assert all("still has CHANGE-ME" in problem for problem in unfilled.value.problems)
    config.write_text(text.replace("CHANGE-ME", "1234"))
    settings = load(config, {})
    assert settings.redis_options.password_file is not None
    assert settings.key_encryption_key is not None
