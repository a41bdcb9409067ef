"""One run names every mistake: unusable keys are left out, and the rest is judged."""

import os
from pathlib import Path

import pytest

from tokenmint.base.errors import ConfigurationError
from tokenmint.config import changes
from tokenmint.config.load import load
from tokenmint.config.settings import Settings
from tokenmint.process.new_secrets import new_encryption_key

HASH = "sha256:" + "a" * 64
GOOD = f"""\
issuer = "https://tokens.example"
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]
[audiences."https://api"]
clients = ["web"]
providers = ["idp"]
[clients.web]
secrets = ["{HASH}"]
"""
MISTAKES = f"""\
issuer = "https://tokens.example"
colour = 1
[listen]
grpc = 5
[redis]
urk = "x"
[providers.idp]
issuer = "https://idp.example"
audiences = "app"
condition = "assertion.x =="
timeut = "1s"
[providers.other]
use = "googel"
algorithms = ["HS256"]
[audiences."https://api"]
clients = ["web", "wep"]
providers = ["idp", "idq"]
lifetime = "soon"
[audiences."https://api".claims]
sub = "assertion.sub"
[audiences."https://tokens.example"]
clients = ["web"]
providers = ["idp"]
[clients.web]
secrets = ["{HASH}"]
rate = {{ per_second = 1 }}
scopes = {{ "https://apj" = [] }}
[operators.root]
roles = ["viewr"]
"""


def read(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "tokenmint.toml"
    file.write_text(text)
    return load(file, environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text, **environ)
    return list(error.value.problems)


def test_mistakes_of_every_stage_are_named_with_their_lines_and_nothing_else(tmp_path: Path) -> None:
    found = problems(tmp_path, MISTAKES)
    expected = [
        ("colour: there is no such key", 2),
        ('listen.grpc: expected "host:port" in quotes', 4),
        ("redis.urk: there is no such key: did you mean url?", 6),
        ("providers.idp.audiences: expected a list", 9),
        ("providers.idp.condition: ", 10),
        ("providers.idp.timeut: there is no such key: did you mean timeout?", 11),
        ("providers.other.use: no such entry; the entries are ", 13),
        ("providers.other.algorithms: expected some of", 14),
        ('audiences."https://api".clients: there is no [clients.wep]: did you mean [clients.web]?', 16),
        ('audiences."https://api".providers: there is no [providers.idq]: did you mean [providers.idp]?', 17),
        ('audiences."https://api".lifetime: expected a duration', 18),
        ('audiences."https://api".claims.sub: is a reserved claim name', 20),
        ('audiences."https://tokens.example": is the issuer itself', 21),
        ("clients.web.rate.burst: is required", 26),
        ('clients.web.scopes."https://apj": there is no such audience: did you mean https://api?', 27),
        ("operators.root.roles: expected some of viewer, operator, security: did you mean viewer?", 29),
        ("operators.root.secrets: is required", 28),
    ]
    for text, line in expected:
        assert any(one.startswith(text) and one.endswith(f" (line {line})") for one in found), (text, line, found)
    assert len(found) == len(expected), found


def test_a_value_that_was_left_out_is_not_missed(tmp_path: Path) -> None:
    text = GOOD.replace('clients = ["web"]', 'clients = "web"').replace(f'secrets = ["{HASH}"]', "secrets = 5")
    found = problems(tmp_path, text + "[listen]\ncert_file = 5\nkey_file = 'x'\n")
    assert [line.partition(": ")[0] for line in found] == [
        "listen.cert_file", 'audiences."https://api".clients', "clients.web.secrets", "listen.key_file",
    ]  # fmt: skip


def test_a_section_that_was_left_out_is_not_missed(tmp_path: Path) -> None:
    clients = f'[clients.web]\nsecrets = ["{HASH}"]\n'
    found = problems(tmp_path, f"clients = 5\nredis = 7\n{GOOD.replace(clients, '')}")
    assert sorted(found) == ["clients: expected a table (line 1)", "redis: expected a table (line 2)"]


def test_what_the_environment_says_is_named_by_its_variable(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + '[listen]\ngrpc = "127.0.0.1:1"\n', TOKENMINT_LISTEN__GRPC="nonsense")
    assert found == ['listen.grpc: expected "host:port", e.g. "127.0.0.1:7443" (TOKENMINT_LISTEN__GRPC)']


def test_an_operators_check_with_a_text_for_a_list_is_not_passed_over(tmp_path: Path) -> None:
    text = GOOD + '[[providers.idp.checks]]\nclaim = "hd"\nkind = "one_of"\nvalues = "corp.example"\n'
    assert problems(tmp_path, text) == [
        "providers.idp.checks: hd: values: expected a list, or the name of a key of the entry (line 10)"
    ]


def test_a_key_encryption_key_that_others_read_is_a_warning(tmp_path: Path) -> None:
    key = tmp_path / "kek"
    key.write_text(new_encryption_key(os.urandom))
    key.chmod(0o640)
    text = GOOD + '[keys]\nencryption_key_file = "kek"\n'
    [warning] = read(tmp_path, text).warnings
    assert warning.startswith(f"keys.encryption_key_file: {key} is open to other users than its owner (mode 640)")
    key.chmod(0o600)
    assert read(tmp_path, text).warnings == ()


def test_a_reload_names_what_it_takes_over_and_what_waits(tmp_path: Path) -> None:
    before = read(tmp_path, GOOD)
    assert changes.between(before, before, started_with=before) == {"taken_over": [], "needs_restart": []}
    text = GOOD.replace('["app"]', '["app", "b"]').replace("https://tokens.example", "https://new.example")
    text += '[audiences.more]\nclients = ["web"]\nproviders = ["idp"]\n[listen]\nops = "127.0.0.1:1"\n'
    text += (
        '[redis]\nread_timeout = "2s"\n[log]\nlevel = "error"\n[limits]\nall_clients = { per_second = 1, burst = 1 }\n'
    )
    after = read(tmp_path, text)
    assert changes.between(before, after, started_with=before) == {
        "taken_over": ["providers.idp", "audiences.more", "limits.all_clients"],
        "needs_restart": ["issuer", "redis.read_timeout", "listen.ops", "log.level"],
    }
    again = changes.between(after, after, started_with=before)
    assert (again["taken_over"], len(again["needs_restart"])) == ([], 4)


def test_the_names_of_many_changes_are_bounded(tmp_path: Path) -> None:
    many = "".join(f'[clients.c{n}]\nsecrets = ["{HASH}"]\n' for n in range(60))
    taken = changes.between(read(tmp_path, GOOD), read(tmp_path, GOOD + many), started_with=read(tmp_path, GOOD))
    assert len(taken["taken_over"]) == 51
    assert taken["taken_over"][-1] == "and 10 more"
