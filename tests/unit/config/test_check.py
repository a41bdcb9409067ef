"""The configuration: every problem at once, with the key's path and what to do; secrets by file or environment only."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuer import Issuer
from tests.tls import certificate

from tokenmint.admission.callers import Role
from tokenmint.base.durations import LONGEST, parse_duration, spoken
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load, locate
from tokenmint.config.settings import Settings
from tokenmint.model.policy import OnMissingProfile
from tokenmint.process.bootstrap import encryption_key, operators, prepare
from tokenmint.process.new_secrets import new_encryption_key

HASH = "sha256:" + "a" * 64
BEHIND_A_PROXY = f'[listen]\ntransport = "native"\nforwarded = {{ secrets = ["{HASH}"] }}\n'
MINIMAL = f"""
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]

[audiences."https://api"]
clients = ["web"]
providers = ["idp"]
scopes = ["read"]

[clients.web]
secrets = ["{HASH}"]
"""


def read(tmp_path: Path, text: str = MINIMAL, environ: dict[str, str] | None = None, **options: Any) -> Settings:
    file = tmp_path / "tokenmint.toml"
    file.write_text(text)
    return load(file, environ or {}, **options)


def problems(tmp_path: Path, text: str = MINIMAL, environ: dict[str, str] | None = None, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text, environ, **options)
    return list(error.value.problems)


def test_a_byte_order_mark_before_the_configuration_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + MINIMAL).providers.keys() == {"idp"}


def test_without_anything_the_defaults_hold() -> None:
    settings = load(None, {})
    assert [str(address) for address in settings.listen.addresses().values()] == [
        "127.0.0.1:7443", "127.0.0.1:7444", "127.0.0.1:8080", "127.0.0.1:9464",
    ]  # fmt: skip
    assert (settings.redis_url, settings.key_encryption_key, settings.algorithms) == (None, None, ("ES256",))
    assert (dict(settings.providers), dict(settings.audiences), dict(settings.clients)) == ({}, {}, {})


def test_a_small_file_becomes_what_the_service_works_with(tmp_path: Path) -> None:
    settings = read(tmp_path)
    audience = settings.audiences["https://api"]
    assert (audience.lifetime, audience.max_lifetime, audience.algorithm) == (600, 3600, "ES256")
    assert audience.on_missing_profile is OnMissingProfile.DENY
    assert settings.clients["web"].secret_hashes == ("a" * 64,)
    assert settings.data_dir == tmp_path / ".tokenmint"


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """
issuer = "https://me/"
[listen]
grpc = "0.0.0.0:7443"
[keys]
algorithms = ["HS256"]
publish_ahead = "1h"
[providers.idp]
issuer = "https://idp.example"
[audiences."https://api"]
clients = ["nobody"]
providers = ["none"]
scopes = ["a b"]
lifetime = "2h"
max_lifetime = "1h"
[clients.web]
secrets = ["tms_literal"]
scopes = { "https://x" = ["y"] }
[operators.root]
secrets = []
roles = ["king"]
"""
    found = "\n".join(problems(tmp_path, text))
    for expected in (
        "issuer: expected an https URL without query, fragment, * and trailing slash",
        "listen.grpc: secrets would cross the network unencrypted",
        "keys.algorithms: expected some of ES256",
        "keys: publish_ahead is 1h",
        "providers.idp.audiences: is required",
        'audiences."https://api".clients: there is no [clients.nobody]',
        'audiences."https://api".providers: there is no [providers.none]',
        "audiences.\"https://api\".scopes: 'a b' is not a scope",
        'audiences."https://api".lifetime: is longer than max_lifetime',
        'clients.web.secrets[0]: expected "sha256:"',
        'clients.web.scopes."https://x": there is no such audience',
        "operators.root.roles: expected some of viewer",
    ):
        assert expected in found, expected
    assert "tms_literal" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = ", "is not TOML"),
        ("[keys]\n[keys]\n", "write the table once, with the lines of both"),
        ("colour = 1", "colour: there is no such key"),
        ("[redis]\nurk = 1", "redis.urk: there is no such key"),
        ("[listen]\ngrpc = 5", "listen.grpc: "),
        ('[listen]\ngrpc = "7443"', 'listen.grpc: expected "host:port"'),
        ('[listen]\ngrpc = "::1:7443"', "listen.grpc: expected an IPv6 address in brackets"),
        ('[listen]\nhttp = "0.0.0.0:80"', "issuer: is required if listen.http is not on loopback"),
        ('[listen]\ncert_file = "x"', "listen.cert_file, listen.key_file: set both, or neither"),
        ('[listen]\nclient_ca_file = "x"', "listen.client_ca_file: needs"),
        (
            f'[listen]\ntransport = "grpcio"\nforwarded = {{ secrets = ["{HASH}"] }}',
            'is for listen.transport = "native"',
        ),
        ('[listen]\ntransport = "native"\nforwarded = {}', "listen.forwarded.secrets: is required"),
        ('[listen]\ntransport = "native"\nforwarded = { secrets = [] }', "listen.forwarded.secrets: is empty"),
        (
            '[listen]\ntransport = "native"\nforwarded = { secrets = ["tms_x"] }',
            'listen.forwarded.secrets[0]: expected "sha256:"',
        ),
        (
            f'{BEHIND_A_PROXY}[clients.c]\nsecrets = ["{HASH}"]',
            "is also a client's or an operator's",
        ),
        ('[clients.c]\ncertificates = ["dns:c"]', "clients.c.certificates: need listen.client_ca_file"),
        (
            '[clients.c]\ncertificates = ["dns:c"]\n[listen]\ntransport = "native"',
            "clients.c.certificates: need [listen.forwarded]",
        ),
        (
            '[operators.o]\ncertificates = ["dns:o"]\n[listen]\ntransport = "native"',
            "operators.o.certificates: need TLS, which listen.transport",
        ),
        ('[redis]\npassword = "x"', "redis.password: a secret is not allowed in the file"),
        ('[redis]\nurl = "redis://:pw@h"', "redis.url: a password is not allowed in the file"),
        ('[redis]\nurl = "redis://h"', "keys.encryption_key_file: is required with redis.url"),
        ('[redis]\nurl = "rediss://h?ssl_cert_reqs=none"', "redis.url: not a store URL; expected redis://"),
        ('[redis]\nurl = "unix:///s?ssl=true"', "redis.url: not a store URL; expected redis://"),
        ('[redis]\nurl = "rediss+unix:///s"', "redis.url: not a store URL; expected redis://"),
        ('[redis]\nca_file = "ca"', "redis.ca_file: is for TLS, which redis.url does not ask for"),
        ('[redis]\nurl = "redis://h"\nca_file = "ca"', "redis.ca_file: is for TLS, which redis.url does not ask for"),
        ('[redis]\nurl = "unix:///s"\nca_file = "ca"', "redis.ca_file: is for TLS, which redis.url does not ask for"),
        ('[redis]\nurl = "redis+sentinel://h/p"\nca_file = "ca"', "redis.ca_file: is for TLS"),
        ('[redis]\nurl = "rediss+sentinel://h/p"\nca_file = "none"', "redis.ca_file: "),
        ('[redis]\npassword_file = "none"', "redis.password_file: "),
        ('[keys]\nencryption_key = "x"', "keys.encryption_key: a secret is not allowed in the file"),
        ('[keys]\nencryption_key_file = "none"', "keys.encryption_key_file: "),
        ("[keys]\nalgorithms = []", "keys.algorithms: is empty: expected some of"),
        ('[keys]\nrotation_interval = "1h"', "keys: rotation_interval is 1h"),
        ('[audiences.a]\nclients = ["w"]', "audiences.a.providers: is required"),
        ("[audiences.a]\nproviders = []", "audiences.a.clients: is required"),
        ('[audiences.a]\nproviders = ["p"]\nlifetime = "25h"', "audiences.a.lifetime: "),
        (
            '[audiences.a]\nproviders = ["p"]\non_missing_profile = "x"',
            'audiences.a.on_missing_profile: expected "deny"',
        ),
        ('[audiences.a]\nproviders = ["p"]\nalgorithm = "RS256"', "audiences.a.algorithm: is not in keys.algorithms"),
        ('[audiences.""]\nproviders = ["p"]', 'audiences."": expected a name of 1 to 255 characters'),
        ("[clients.web]", "clients.web.secrets: is required"),
        ('[clients."a b"]', "clients."),
        (MINIMAL + '\n[audiences."https://api".claims]\nsub = "assertion.email"', "reserved claim name"),
        (MINIMAL + '\n[audiences."https://api".claims]\nx = "email"', 'audiences."https://api".claims.x: expected'),
        (MINIMAL.replace('"read"]', '"read"]\nsurprise = 1'), 'audiences."https://api".surprise: there is no such key'),
        (
            MINIMAL + '[providers.two]\nissuer = "https://idp.example"\naudiences = ["app"]',
            "nothing distinguishes their tokens: use one provider with all the audiences",
        ),
        (MINIMAL + '[clients.web.scopes]\n"https://api" = ["x"]', "the audience has no scope 'x'"),
        (MINIMAL + "[limits]\ntoken_bytes = 65537", "limits.token_bytes"),
        (MINIMAL + "[limits]\ntoken_bytes = 65536", "limits.token_bytes: such a token does not fit"),
        (MINIMAL + "[audit]\nshards = 25", "audit.shards: expected a value less than or equal to 24 ("),
        (MINIMAL + "[audit]\nshards = 0", "audit.shards: expected a value greater than or equal to 1 ("),
        (MINIMAL + "[audit]\nshards = 3\nexchange_events = 2999", "audit.exchange_events: each of 3 shards needs room"),
        (MINIMAL + "[audit]\nshards = 24\nexchange_bytes = 8388608", "audit.exchange_bytes: each of 24 shards needs"),
    ],
)
def test_each_problem_has_its_path_and_the_way_out(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert any(expected in line for line in found), found


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tokenmint init"):
        load(tmp_path / "none.toml", {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(binary, {})


def test_the_environment_comes_on_top(tmp_path: Path) -> None:
    environ = {
        "TOKENMINT_ISSUER": "https://tokens.example",
        "TOKENMINT_LISTEN__GRPC": "127.0.0.1:1",
        "TOKENMINT_KEYS__MAX_AGE": "1m",
        "TOKENMINT_KEYS__ALGORITHMS": '["RS256", "ES256"]',
        "TOKENMINT_KEYS__ENCRYPTION_KEY": new_encryption_key(lambda size: b"k" * size),
        "TOKENMINT_REDIS__URL": "redis://h",
        "TOKENMINT_REDIS__PASSWORD": "123456",
        "TOKENMINT_LIMITS__WATCH_STREAMS": "7",
        "TOKENMINT_SERVICE_HOST": "10.0.0.1",
        "TOKENMINT_PORT": "tcp://10.0.0.1:7443",
        "PATH": "/bin",
    }
    settings = read(tmp_path, MINIMAL, environ)
    assert (settings.issuer, str(settings.listen.grpc)) == ("https://tokens.example", "127.0.0.1:1")
    assert (settings.schedule.max_age, settings.algorithms) == (60.0, ("RS256", "ES256"))
    assert settings.limits.watch_streams == 7
    assert settings.redis_options.password is not None
    assert settings.redis_options.password.reveal() == "123456"
    assert "123456" not in repr(settings)
    assert encryption_key(settings).reveal_bytes() == b"k" * 32


@pytest.mark.parametrize("name", ["TOKENMINT_REDIS__URK", "TOKENMINT_NONE__X", "TOKENMINT_PROVIDERS__X"])
def test_a_misspelt_variable_is_named(tmp_path: Path, name: str) -> None:
    found = problems(tmp_path, MINIMAL, {name: "x"})
    assert [line.partition(": did you mean ")[0] for line in found] == [f"{name}: there is no such setting"]


def test_key_encryption_keys_have_32_bytes(tmp_path: Path) -> None:
    (tmp_path / "kek").write_text("c2hvcnQ\n")
    found = problems(tmp_path, '[keys]\nencryption_key_file = "kek"')
    assert found == ["keys.encryption_key_file: expected 32 bytes in base64url: `tokenmint init` makes one (line 2)"]


def test_files_are_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "kek").write_text(new_encryption_key(lambda size: b"k" * size))
    (tmp_path / "pw").write_text("secret\n")
    certificate(tmp_path)
    (tmp_path / "jwks").write_bytes(Issuer().jwks())
    text = MINIMAL.replace('audiences = ["app"]', 'audiences = ["app"]\njwks_file = "jwks"')
    text += (
        '[keys]\nencryption_key_file = "kek"\n[redis]\nurl = "rediss://h"\npassword_file = "pw"\nca_file = "tls.crt"\n'
    )
    settings = read(tmp_path, text)
    assert settings.redis_options.password_file == tmp_path / "pw"
    assert settings.redis_options.ca_file == tmp_path / "tls.crt"
    assert settings.providers["idp"].key_source.kind == "file"


def test_the_development_mode_is_fenced(tmp_path: Path) -> None:
    text = """
issuer = "https://me"
[listen]
grpc = "0.0.0.0:7443"
[redis]
url = "redis://h"
"""
    found = "\n".join(problems(tmp_path, text, development=True))
    for expected in ("listen.grpc: --dev", "redis.url: --dev", "issuer: --dev"):
        assert expected in found
    assert read(tmp_path, MINIMAL.replace('clients = ["web"]', ""), development=True).audiences
    emulator = {"FIREBASE_AUTH_EMULATOR_HOST": "localhost:9099"}
    assert any("unsigned tokens" in line for line in problems(tmp_path, MINIMAL, emulator))
    assert read(tmp_path, MINIMAL, emulator, development=True)


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(None, {}) is None
    (tmp_path / "tokenmint.toml").write_text("")
    assert locate(None, {}) == Path("tokenmint.toml")
    assert locate(None, {"TOKENMINT_CONFIG": "/x"}) == Path("/x")
    assert locate(Path("/y"), {"TOKENMINT_CONFIG": "/x"}) == Path("/y")


def test_what_is_missing_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    settings = read(tmp_path)
    made = prepare(settings, lambda size: b"e" * size)
    assert [file.name for file in made] == ["key-encryption-key", "operator.json"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in made)
    assert prepare(settings, lambda size: b"f" * size) == []
    assert encryption_key(settings).reveal_bytes() == b"e" * 32
    found = operators(settings)["operator"]
    assert found.roles == frozenset(Role)
    made[0].write_text("short")
    with pytest.raises(ConfigurationError, match="is not a key-encryption key"):
        encryption_key(settings)
    made[1].write_text("{}")
    with pytest.raises(ConfigurationError, match="remove it"):
        operators(settings)


@pytest.mark.parametrize(
    ("value", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("250ms", 0.25), (5, 5), (0.5, 0.5),
                           ("1h30m", 5400), ("1d2h3m4s5ms", 93784.005), ("1m500ms", 60.5)]
)  # fmt: skip
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@given(milliseconds=st.integers(0, round(LONGEST * 1000)))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    assert parse_duration(spoken(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    "value", ["", "10", "ten minutes", "-5s", -1, True, None, "1.5h", "10 m", "30m1h", "1h1h", "1h30"]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            'lifetime = "2h"\n[audiences."https://api".firebase]\nproject = "demo-app"',
            "Firebase custom tokens live 1 h",
        ),
        ('[audiences."https://api".firebase]\nproject = "demo-app"', "service_account_file: is required"),
        (
            'on_missing_profile = "create"\n[audiences."https://api".firebase]\nproject = "demo-app"',
            "a principal that is created just in time (p_...) is not a user of Firebase",
        ),
        (
            'on_missing_profile = "without"\n[audiences."https://api".firebase]\nproject = "demo-app"',
            "a principal without a profile is not a user of Firebase",
        ),
        ('[audiences."https://api".app_service]\nkey_file = "k"\nkey_encoding = "hex"', "has 2 bytes as hex"),
        ('[audiences."https://api".app_service]\nkey_file = "p"\nkey_encoding = "utf-8"', "is a PEM file"),
        ('[audiences."https://api".app_service]\nkey_file = "none"\nkey_encoding = "hex"', "can't be read"),
        ('[audiences."https://api".reference]\nidle = "2h"', "idle: is longer than max_lifetime"),
        ('algorithm = "ES256"\n[audiences."https://api".reference]', "have none: leave it out"),
        ('reexchange_from = ["https://x"]', 'there is no [audiences."https://x"]'),
        ('bound = "mtls"', "needs listen.client_ca_file"),
        ('reuse_window = "61s"', '"https://api".reuse_window: '),
        ('reuse_window = "1500ms"', "expected a whole number of seconds"),
        ('reuse_window = "5s"\nsingle_use = true', "contradicts single_use"),
        ('reuse_window = "5s"\n[audiences."https://api".reference]', "[reference] mints others"),
        ('reuse_window = "5s"\n[audiences."https://api".firebase]\nproject = "demo-app"', "[firebase] mints others"),
        ("status_list = true", "needs oauth.drafts to have draft-ietf-oauth-status-list-20"),
        ('status_list = true\n[audiences."https://api".reference]', "only JWTs are in status lists"),
        ('status_list = true\n[audiences."https://api".claims]\nstatus = "assertion.sub"', "which writes this claim"),
        ('[audiences."https://api".actors]', "their tokens authenticate an actor"),
    ],
)
def test_formats_that_can_not_work_are_told(tmp_path: Path, extra: str, expected: str) -> None:
    (tmp_path / "k").write_text("abcd")
    (tmp_path / "p").write_text("-----BEGIN PUBLIC KEY-----\n" + "A" * 64)
    text = MINIMAL.replace('scopes = ["read"]', f'scopes = ["read"]\n{extra}')
    assert any(expected in problem for problem in problems(tmp_path, text))


def test_the_endpoints_are_asked_for_and_not_in_the_open(tmp_path: Path) -> None:
    config = tmp_path / "tokenmint.toml"
    config.write_text("")
    assert not load(config, {}).oauth.enabled
    config.write_text('issuer = "https://t.example"\n[oauth]\nenabled = true\n[listen]\nhttp = "0.0.0.0:8080"\n')
    with pytest.raises(ConfigurationError, match=r"oauth.enabled: secrets would cross the network unencrypted"):
        load(config, {})
    config.write_text(config.read_text() + "plaintext = true\n")
    assert load(config, {}).oauth.enabled
    config.write_text('[listen]\nhttp_client_ca_file = "ca"\n')
    with pytest.raises(ConfigurationError, match=r"listen.http_client_ca_file: needs listen.http_cert_file"):
        load(config, {})
