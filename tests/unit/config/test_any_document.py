"""Any document gives settings or a list of problems, and never another exception."""

import copy
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.depth import depth

from tokenmint.base.errors import ConfigurationError
from tokenmint.config import load as loading
from tokenmint.config.data_dir import problems_of_start
from tokenmint.config.settings import Settings

HASH: Final = "sha256:" + "a" * 64
RATE: Final = {"per_second": 1, "burst": 1}
DOCUMENT: Final[dict[str, Any]] = {
    "issuer": "https://tokens.example",
    "data_dir": "data",
    "reflection": True,
    "redis": {"url": "rediss://h/0", "ca_file": "ca", "password_file": "pw", "prefix": "tm:", "read_timeout": "1s"},
    "listen": {
        "grpc": "127.0.0.1:1",
        "transport": "native",
        "http_cert_file": "c",
        "http_key_file": "k",
        "forwarded": {"secrets": [HASH]},
    },
    "keys": {
        "algorithms": ["ES256"],
        "encryption_key_file": "kek",
        "other_encryption_key_files": ["kek"],
        "pkcs11": {"module": "m", "token": "t", "pin_file": "p"},
        "aws_kms": {"region": "r", "endpoint_url": "https://kms.example"},
        "max_age": "5m",
        "publish_ahead": "2d",
    },
    "limits": {"each_client": RATE, "drain": 1, "connection_age": "1h"},
    "audit": {"refusals_per_client": RATE},
    "oauth": {"enabled": True},
    "envoy": {"audience": "a", "hosts": {"h": "a"}},
    "log": {"level": "info"},
    "proxy": {"url": "http://proxy.example:3128", "username": "u", "password_file": "pw", "no_proxy": ["h"]},
    "providers": {
        "idp": {
            "issuer": "https://idp.example",
            "audiences": ["app"],
            "checks": [{"claim": "x", "kind": "one_of", "values": ["y"], "token_types": ["jwt"]}],
            "subject_claims": ["sub", ["a", "b"]],
            "condition": "assertion.x == 1",
            "claims": {"c": "assertion.x"},
            "skew": "1s",
            "ca_file": "ca",
            "bearer_token_file": "token",
            "headers": {"X-Tenant": "7"},
            "header_files": {"X-Key": "key"},
            "proxy": "none",
        },
        "entra": {"use": "entra", "tenants": ["72f988bf-86f1-41af-91ab-2d7cd011db47"], "audiences": ["b"]},
        "fire": {"use": "firebase", "project": "my-project", "check_revoked": True, "service_account_file": "sa"},
        "pinned": {"issuer": "p", "audiences": ["c"], "jwks": '{"keys": []}'},
    },
    "audiences": {
        "a": {
            "clients": ["web"],
            "providers": ["idp"],
            "scopes": ["s"],
            "claims": {"e": "assertion.e", "f": "= assertion.f"},
            "actors": {"providers": ["idp"], "audiences": ["b"]},
            "condition": "true",
            "bound": "dpop",
            "reuse_window": "5s",
        },
        "b": {"clients": ["web"], "reexchange_from": ["a"], "reference": {"idle": "5m"}},
        "https://site": {
            "clients": ["web"],
            "providers": ["idp"],
            "app_service": {"key_file": "k", "key_encoding": "hex"},
        },
        "f": {
            "clients": ["web"],
            "providers": ["fire"],
            "firebase": {"project": "demo-app", "service_account_file": "sa", "uid": "assertion.sub"},
        },
    },
    "clients": {
        "web": {
            "secrets": [HASH],
            "certificates": ["dns:x"],
            "workloads": [{"provider": "idp", "subject": "s"}],
            "scopes": {"a": ["s"]},
            "rate": RATE,
            "serves": ["a"],
        },
        "keyed": {"jwks_url": "https://keys.example"},
    },
    "operators": {"root": {"secrets": [HASH], "roles": ["viewer"]}},
}
"""Every kind of table, each key with a value of its type."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*path, key))


PLACES: Final = [path for path in paths(DOCUMENT) if path]
NESTED: Any = []
for _ in range(200):
    NESTED = [NESTED]
ODD: Final = st.one_of(
    st.sampled_from(
        [None, "", "\0", "/dev/zero", ".", "~", "*", "{x}", "https://[::1", "https://x:99999", "http://x", "a@b:c",
         "redis://", "unix:///%00", "x" * 5000, "\ud7ff\u202e", "CHANGE-ME", 0, -1, 10**30, True, 1e308, float("inf"),
         float("nan"), [], {}, [[]], [{}], {"": {}}, {"a.b": 1}, ["a", 1], NESTED, datetime.date(2020, 1, 1),
         datetime.time(1), "1e9d", "999999999d"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=20),
)  # fmt: skip


def judge(document: dict[str, Any], directory: Path) -> Settings | tuple[str, ...]:
    """Judge a document as if it had been read from a file."""
    try:
        made = loading.judged(document, {}, directory, {}, development=False)
    except ConfigurationError as error:
        return error.problems
    assert isinstance(problems_of_start(made, development=False), list)
    return made


@settings(max_examples=depth(20, 400))
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD, st.booleans()), min_size=1, max_size=4))
def test_a_changed_document_is_judged(changes: list[tuple[tuple[Any, ...], Any, bool]]) -> None:
    document = copy.deepcopy(DOCUMENT)
    for path, odd, rename in changes:
        owner: Any = document
        for part in path[:-1]:
            try:
                owner = owner[part]
            except (KeyError, IndexError, TypeError):
                owner = None
        if isinstance(owner, dict) and rename and isinstance(odd, str):
            owner[odd] = owner.pop(path[-1], 1)
        elif isinstance(owner, dict) or (
            isinstance(owner, list) and isinstance(path[-1], int) and path[-1] < len(owner)
        ):
            owner[path[-1]] = copy.deepcopy(odd) if odd is not None else 5
    outcome = judge(document, Path("/nonexistent"))
    if not isinstance(outcome, Settings):
        assert outcome
        assert all(problem.strip() and len(problem) < 20_000 for problem in outcome)
        json.dumps(outcome)
