"""`config check`, `serve` (before it makes anything) and a reload refuse a bad configuration in the same words."""

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import pytest
from tests.forked import ForkedWithLog
from tests.issuer import Issuer
from tests.process import configure, write_kek
from tests.tls import certificate

from tokenmint.cli import app, run
from tokenmint.process import worker

pytestmark = pytest.mark.processes

PATIENCE: Final = 60.0  # seconds
OUTCOMES: Final = ("configuration not reloaded: the running one stays", "configuration reloaded")
PROVIDER: Final = '\n[providers.bad]\nissuer = "https://b.example"\naudiences = ["a"]\n'
Change = Callable[[str], str]


def more(text: str) -> Change:
    return lambda config: f"{config}\n{text}\n"


def top(text: str) -> Change:
    return lambda config: f"{text}\n{config}"


def instead(old: str, new: str) -> Change:
    def change(config: str) -> str:
        assert old in config
        return config.replace(old, new)

    return change


BAD: Final[dict[str, tuple[Change, str]]] = {
    "an audience that is the issuer": (
        more('[audiences."http://127.0.0.1:9"]\nclients = ["web"]\nproviders = ["idp"]'),
        'audiences."http://127.0.0.1:9": is the issuer itself',
    ),
    "the issuer, written otherwise": (
        more('[audiences."HTTP://127.0.0.1:9/"]\nclients = ["web"]\nproviders = ["idp"]'),
        'audiences."HTTP://127.0.0.1:9/": is the issuer itself',
    ),
    "a provider with the issuer": (
        more('[providers.me]\nissuer = "http://127.0.0.1:9/"\naudiences = ["a"]\nallow_private = true'),
        "providers.me.issuer: is tokenmint's own",
    ),
    "TLS files that are none": (
        instead("[listen]", '[listen]\ncert_file = "garbage"\nkey_file = "garbage"'),
        "listen.cert_file: DIR/garbage and DIR/garbage are not a certificate and its key in PEM (line 6)",
    ),
    "TLS files that are not there": (
        instead("[listen]", '[listen]\nhttp_cert_file = "none"\nhttp_key_file = "none"'),
        "listen.http_cert_file: DIR/none can't be read (No such file or directory) (line 6)",
    ),
    "an authority of clients that is none": (
        instead("[listen]", '[listen]\ncert_file = "tls.crt"\nkey_file = "tls.key"\nclient_ca_file = "garbage"'),
        "listen.client_ca_file: DIR/garbage holds no CA certificates in PEM (line 8)",
    ),
    "two listeners on one port": (
        lambda config: config.replace('admin = "127.0.0.1:0"', 'admin = "127.0.0.1:7001"').replace(
            'ops = "127.0.0.1:0"', 'ops = "0.0.0.0:7001"'
        ),
        "listen.ops: 0.0.0.0:7001 is taken by listen.admin: choose another port",
    ),
    "a host that is none": (
        instead('ops = "127.0.0.1:0"', 'ops = "a\\u0000b:1"'),
        "listen.ops: expected a host name or an IP address",
    ),
    "a security module without its package or library": (
        more('[keys.pkcs11]\nmodule = "none.so"\ntoken = "t"\npin_file = "garbage"'),
        "keys.pkcs11",
    ),
    "a directory as ca_file": (
        more(PROVIDER + 'ca_file = "."'),
        "providers.bad.ca_file: can't be read (it is a directory)",
    ),
    "a device as jwks_file": (
        more(PROVIDER + 'jwks_file = "/dev/zero"'),
        "providers.bad.jwks_file: can't be read (it is not a regular file)",
    ),
    "a pipe as jwks_file": (
        more(PROVIDER + 'jwks_file = "pipe"'),
        "providers.bad.jwks_file: can't be read (it is not a regular file)",
    ),
    "a file with U+0000": (
        more(PROVIDER + 'jwks_file = "a\\u0000"'),
        "providers.bad.jwks_file: can't be read (its name",
    ),
    "keys that are nested without end": (
        more(PROVIDER + 'jwks_file = "deep"'),
        "providers.bad.jwks_file: is not a JWK set",
    ),
    "a file that is nested without end": (
        top("deep = " + "[" * 5000 + "]" * 5000),
        "DIR/tokenmint.toml: is nested too deeply",
    ),
    "tables without end": (more("[" + ".".join(["a"] * 3000) + "]"), "the configuration is nested too deeply"),
    "a device as key-encryption key": (
        more('[keys]\nencryption_key_file = "/dev/zero"'),
        "keys.encryption_key_file: /dev/zero can't be read (it is not a",
    ),
    "a port beyond the last": (more(PROVIDER + 'jwks_url = "https://x:99999/"'), "providers.bad.jwks_url: its port"),
    "a bracket without its partner": (
        more(PROVIDER + 'jwks_url = "https://[::1"'),
        "providers.bad.jwks_url: its host has",
    ),
    "user info": (more(PROVIDER + 'jwks_url = "https://u:p@x/"'), "providers.bad.jwks_url: a URL with a user"),
    "plain http beyond loopback": (
        more(PROVIDER + 'jwks_url = "http://x.example/"\nallow_private = true'),
        "providers.bad.jwks_url: expected https",
    ),
    "our issuer in plain http": (
        instead('issuer = "http://127.0.0.1:9"', 'issuer = "http://tokens.example"'),
        "issuer: expected https (http on",
    ),
    "a template in an issuer": (
        more(
            '[providers.bad]\nissuer = "https://{cluster}.example"\naudiences = ["a"]\njwks_url = "https://x.example/"'
        ),
        "providers.bad.issuer: is compared exactly",
    ),
    "a * in an issuer": (
        more('[providers.bad]\nissuer = "https://login.example/*"\naudiences = ["a"]'),
        "providers.bad.issuer: is compared exactly",
    ),
    "what init left to fill in": (
        more('[providers.g]\nuse = "google"\naudiences = ["CHANGE-ME.apps.googleusercontent.com"]'),
        "providers.g.audiences: still has CHANGE-ME",
    ),
    "a condition that is none": (more(PROVIDER + 'condition = "assertion.x =="'), "providers.bad.condition: "),
    "a duration without end": (more("[limits]\nconnection_age = inf"), "limits.connection_age: expected a duration"),
    "a duration that gRPC can't count": (more('[limits]\nkeepalive = "60d"'), "limits.keepalive: "),
    "a store URL with U+0000": (
        more('[redis]\nurl = "unix:///a%00b"\n[keys]\nencryption_key_file = "kek"'),
        "redis.url: not a store URL",
    ),
    "a list within a list": (instead('clients = ["web"]', 'clients = [["web"]]'), "expected a list of texts in quotes"),
    "a name that is not there": (
        instead('clients = ["web"]', 'clients = ["wep"]'),
        'audiences."https://orders.example".clients: there is no [clients.wep]: did you mean [clients.web]? (line 17)',
    ),
}
START_ONLY: Final = {
    "a data directory that is a file": ("data", "", "data_dir: DIR/data is not a directory"),
    "the data of --dev": ("data/DEVELOPMENT", "", "data_dir: DIR/data was used with --dev"),
    "a broken key-encryption key": ("data/key-encryption-key", "x", "is not a key-encryption key"),
    "a broken operator": ("data/operator.json", "x", "operator.json: can't be read"),
    "a broken high-water mark": ("data/high-water-mark.json", "x", "can't be read as a high-water mark"),
    "the data of another engine": (
        "data/engine.json",
        '{"name": "valkey", "version": [99, 0]}',
        "was written by valkey 99.0",
    ),
}
"""A file that a start finds and refuses, and a reload does not look at, with its text."""


def prepare(directory: Path) -> None:
    (directory / "garbage").write_text("garbage")
    (directory / "deep").write_text("[" * 100_000)
    certificate(directory)
    write_kek(directory)
    os.mkfifo(directory / "pipe")


def state(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        str(file.relative_to(directory)): (file.lstat().st_size, file.lstat().st_mtime_ns)
        for file in directory.rglob("*")
    }


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """Runs a command in `tmp_path`; returns its status and the lines that it said, with `DIR` for the directory."""
    for name in [name for name in os.environ if name.startswith("TOKENMINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def serves(*_: Any) -> int:
        raise AssertionError("it serves")

    monkeypatch.setattr(worker, "run", serves)

    def call(*arguments: str) -> tuple[int, list[str]]:
        capfd.readouterr()
        status = run(lambda: app(list(arguments)))
        said = capfd.readouterr().err.replace(str(tmp_path), "DIR").splitlines()
        return status, [line.removeprefix("tokenmint: ") for line in said]

    return call


@pytest.mark.parametrize("name", BAD)
def test_check_and_serve_refuse_it_alike_and_make_nothing(
    tmp_path: Path, terminal: Callable[..., tuple[int, list[str]]], name: str
) -> None:
    change, expected = BAD[name]
    prepare(tmp_path)
    config = configure(tmp_path)
    config.write_text(change(config.read_text()))
    before = state(tmp_path)
    checked = terminal("config", "check", "--config", str(config))
    served = terminal("serve", "--output", "json", "--config", str(config))
    assert (checked, checked[0]) == (served, 2)
    assert any(expected in line for line in checked[1]), checked[1]
    assert state(tmp_path) == before


@pytest.mark.parametrize("name", START_ONLY)
def test_a_bad_data_directory_is_refused_alike_and_left_alone(
    tmp_path: Path, terminal: Callable[..., tuple[int, list[str]]], name: str
) -> None:
    file, text, expected = START_ONLY[name]
    config = configure(tmp_path)
    if file == "data/operator.json":
        config.write_text(config.read_text().partition("[operators.root]")[0])
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    before = state(tmp_path)
    checked = terminal("config", "check", "--config", str(config))
    served = terminal("serve", "--output", "json", "--config", str(config))
    assert (checked, checked[0]) == (served, 2)
    assert any(expected in line for line in checked[1]), checked[1]
    assert state(tmp_path) == before


@pytest.mark.parametrize("device", ["/dev/zero", "pipe", "."])
def test_a_device_where_a_file_belongs_hangs_nothing(
    tmp_path: Path, terminal: Callable[..., tuple[int, list[str]]], device: str
) -> None:
    prepare(tmp_path)
    status, said = terminal("config", "check", "--config", device)
    assert (status, "can't be read (it is " in said[0]) == (2, True)
    config = configure(tmp_path, extra=f'\n[keys]\nhigh_water_mark_file = "{device}"\n')
    checked = terminal("config", "check", "--config", str(config))
    assert checked == terminal("serve", "--output", "json", "--config", str(config))
    assert (checked[0], "can't be read as a high-water mark" in checked[1][0]) == (2, True)


def test_serve_connects_to_no_store_before_the_configuration_was_judged(
    tmp_path: Path, terminal: Callable[..., tuple[int, list[str]]]
) -> None:
    prepare(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as store:
        store.setblocking(False)  # the socket's own
        config = configure(tmp_path)
        text = BAD["an audience that is the issuer"][0](config.read_text())
        port = store.getsockname()[1]
        config.write_text(f'{text}\n[redis]\nurl = "redis://127.0.0.1:{port}"\n[keys]\nencryption_key_file = "kek"\n')
        assert terminal("serve", "--output", "json", "--config", str(config))[0] == 2
        with pytest.raises(BlockingIOError):
            store.accept()


def test_without_an_issuer_the_address_of_the_http_listener_is_it(
    tmp_path: Path, terminal: Callable[..., tuple[int, list[str]]]
) -> None:
    config = configure(tmp_path)
    text = config.read_text().replace('issuer = "http://127.0.0.1:9"\n', "").replace('http = "127.0.0.1:0"\n', "")
    config.write_text(f'{text}[audiences."http://127.0.0.1:8080"]\nclients = ["web"]\nproviders = ["idp"]\n')
    checked = terminal("config", "check", "--config", str(config))
    assert checked == terminal("serve", "--output", "json", "--config", str(config))
    assert checked == (2, ['audiences."http://127.0.0.1:8080": is the issuer itself (line 25)'])


class Log:
    """The log of a service, read as it comes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._waiting = b""
        self._seen: list[bytes] = []

    def until(self, *events: str) -> dict[str, Any]:
        """Return the next line with one of the events."""
        while True:
            while b"\n" not in self._waiting:
                assert select.select([self._file], [], [], PATIENCE)[0], (
                    f"the log has none of {events}: {self._seen[-20:]}"
                )
                self._waiting += os.read(self._file.fileno(), 65536)
            line, _, self._waiting = self._waiting.partition(b"\n")
            self._seen.append(line)
            if line.startswith(b"{") and (told := json.loads(line)).get("event") in events:
                return dict(told)


@pytest.fixture
def log() -> Iterator[tuple[Log, int]]:
    """A log, and the descriptor that a service writes it to."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        yield Log(file), writing
    os.close(writing)


def test_a_reload_refuses_each_in_the_words_of_the_check_and_goes_on(
    tmp_path: Path, issuer: Issuer, log: tuple[Log, int], terminal: Callable[..., tuple[int, list[str]]]
) -> None:
    prepare(tmp_path)
    config = configure(tmp_path, issuer.url)
    good = config.read_text()
    lines, descriptor = log
    with ForkedWithLog(tmp_path, descriptor, "--config", str(config), TOKENMINT_LOG__FORMAT="json") as service:
        for name, (change, _) in BAD.items():
            config.write_text(change(good))
            service.process.send_signal(signal.SIGHUP)
            told = lines.until(*OUTCOMES)
            assert told["event"] == OUTCOMES[0], name
            problems = told["problems"].replace(str(tmp_path), "DIR").splitlines()
            assert (2, problems) == terminal("config", "check", "--config", str(config)), name
        changed = good.replace("[clients.web]", "[clients.batch]").replace('["web"]', '["batch"]')
        config.write_text(
            changed + '[keys]\nmax_age = "1m"\n[limits]\ndrain = "1s"\neach_client = { per_second = 1, burst = 1 }\n'
        )
        service.process.send_signal(signal.SIGHUP)
        told = lines.until(*OUTCOMES)
        assert told["event"] == OUTCOMES[1]
        assert told["taken_over"] == [
            'audiences."https://orders.example"', "clients.batch", "clients.web", "limits.each_client",
        ]  # fmt: skip
        assert told["needs_restart"] == ["keys.max_age", "limits.drain"]
