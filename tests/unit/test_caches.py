"""Every cache, filled with the largest entries that somebody outside can cause, keeps the bound that it names."""

import contextlib
import json
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer, b64, segment
from tests.tls import authority
from tests.unit.formats.test_minter import grant

from tokenmint.admission import certificates
from tokenmint.base.bounded_cache import OVERHEAD, Remembered, remembered_where_short
from tokenmint.base.errors import CallerUnauthenticated
from tokenmint.base.token_errors import TokenRejected
from tokenmint.firebase.clients import MAX_CLIENTS, FirebaseClients
from tokenmint.formats import reuse
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.keys import jwks_clients as verifiers
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.minted import MintedToken
from tokenmint.model.profile import Identity
from tokenmint.model.secret import Secret
from tokenmint.profiles import near_cache as nearcache
from tokenmint.profiles import records
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.near_entries import Lane
from tokenmint.rpc import credentials, forwarded
from tokenmint.storage.reading import Reading
from tokenmint.verification import jws
from tokenmint.verification import signature_cache as verdicts
from tokenmint.verification.jws import parse_compact, size_of
from tokenmint.verification.signature_cache import CachedSignature, SignatureCache

ROOT = Path(__file__).resolve().parents[2]


def measured(value: Any, seen: set[int] | None = None) -> int:
    """Bytes of an object and of everything that it holds, each counted once."""
    seen = set() if seen is None else seen
    if id(value) in seen or value is None or isinstance(value, type):
        return 0
    seen.add(id(value))
    parts: list[Any] = []
    if isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
        if not isinstance(value, dict):
            parts.append(dict(value))
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    elif is_dataclass(value):
        parts = [getattr(value, item.name) for item in fields(value)]
    elif isinstance(value, Secret):
        parts = [value.reveal_bytes()]
    return sys.getsizeof(value) + sum(measured(part, seen) for part in parts)


BIG = 11_500  # bytes of JSON that a token of 16 KiB holds beside its other members
HOSTILE = {
    "empty arrays": "[" + ",".join(["[]"] * (BIG // 3)) + "]",
    "empty objects": "[" + ",".join(["{}"] * (BIG // 3)) + "]",
    "objects with a member": "[" + ",".join(['{"":0}'] * (BIG // 7)) + "]",
    "arrays with an element": "[" + ",".join(["[0]"] * (BIG // 4)) + "]",
    "numbers": "[" + ",".join(["999"] * (BIG // 4)) + "]",
    "long numbers": "[" + ",".join(["18446744073709551615"] * (BIG // 21)) + "]",
    "fractions": "[" + ",".join(["1.5"] * (BIG // 4)) + "]",
    "members": "{" + ",".join(f'"{number:x}":1' for number in range(BIG // 9)) + "}",
    "members with fractions": "{" + ",".join(f'"{number:x}":{number}.5' for number in range(BIG // 13)) + "}",
    "short texts": "[" + ",".join(f'"{number:x}"' for number in range(BIG // 7)) + "]",
    "wide texts": "[" + ",".join(f'"\U0001f600{number:x}"' for number in range(BIG // 11)) + "]",
    "one wide text": '"' + "\U0001f600" + "x" * (BIG - 20) + '"',
    "escaped wide text": '"\\ud83d\\ude00' + "x" * (BIG - 20) + '"',
    "nested": ("[" * 13 + "{}" + "]" * 13 + ",") * (BIG // 29),
    "brackets in a text": '"' + "[" * BIG + '"',
}
HOSTILE["nested"] = "[" + HOSTILE["nested"].rstrip(",") + "]"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("spaced", [False, True], ids=["canonical", "spaced"])
def test_what_a_parsed_token_is_said_to_take_is_never_less_than_it_takes(name: str, spaced: bool) -> None:
    payload = b'{"iss":"https://idp.example",' + (b" " if spaced else b"") + b'"x":' + HOSTILE[name].encode() + b"}"
    token = parse_compact(Secret(f"{segment({'alg': 'ES256', 'kid': 'k'})}.{b64(payload)}.{b64(bytes(64))}"))
    assert measured(token) <= size_of(token, 10**9)
    assert size_of(token, 1000) > 1000  # without looking at all of it


@pytest.mark.parametrize("size", [10, 100, 600, 1100])
@pytest.mark.parametrize(
    "member", ['"{:x}":{}.5', '"{:x}":{}', '"{:x}":"{:x}"', '"{:x}":"\U0001f600{:x}"', '"{0:x}":1000{1}']
)
def test_an_estimate_for_a_flat_token_is_never_less_than_it_takes(member: str, size: int) -> None:
    members: list[str] = []
    while sum(map(len, members)) < size:
        members.append(member.format(len(members), len(members)))
    payload = ('{"iss":"https://idp.example",' + ",".join(members) + "}").encode()
    token = parse_compact(Secret(f"{segment({'alg': 'ES256', 'kid': 'k'})}.{b64(payload)}.{b64(bytes(64))}"))
    assert measured(token) <= size_of(token, 10**9) <= 2 * jws.FLAT


def test_usual_tokens_are_remembered() -> None:
    issuer = Issuer()
    usual = parse_compact(Secret(issuer.token(0, name="Ada Lovelace", email="ada@example.com", jti="j" * 22)))
    groups = [f"3f2504e0-4f89-11d3-9a0c-0305e82c3{number:03}" for number in range(200)]  # as many as Entra ID sends
    with_groups = parse_compact(Secret(issuer.token(0, groups=groups, name="Ada Lovelace", tid="t" * 36)))
    known = SignatureCache()
    for number, token in enumerate((usual, with_groups)):
        known.remember(str(number), CachedSignature(token, "idp", "t"))
        assert known.find(str(number)) is not None
    assert size_of(usual, 10**9) < 16_000


@pytest.mark.parametrize("name", HOSTILE)
def test_remembered_signatures_take_no_more_than_their_bound(name: str) -> None:
    payload = ('{"iss":"https://idp.example","x":' + HOSTILE[name] + "}").encode()
    token = parse_compact(Secret(f"{segment({'alg': 'ES256'})}.{b64(payload)}.{b64(bytes(64))}"))
    known = SignatureCache()
    over = 0
    for number in range(verdicts.ENTRIES + 10):
        before = len(known)
        known.remember(f"{number:064}", CachedSignature(token, "idp", "t"))
        over += len(known) == before
        if over == 10:
            break  # it is full, or keeps no token so large
    assert known.size <= verdicts.SIZE
    assert len(known) * measured(token) <= verdicts.SIZE
    assert len(known) <= verdicts.ENTRIES


def test_long_headers_are_read_each_time() -> None:
    """Anybody may send one, before any signature is looked at: what is kept of them is bounded."""
    longest = 0
    for size in (100, 200, 300, 400, 8_000):
        before = jws.read_header.cache_info()  # type: ignore[attr-defined]
        part = segment({"alg": "ES256", "x": [{"": number} for number in range(size // 10)]})
        parse_compact(Secret(f"{part}.{segment({})}.AAAA"))
        after = jws.read_header.cache_info()  # type: ignore[attr-defined]
        assert (after.misses > before.misses) is (len(part) <= jws.LONGEST_HEADER)
        if len(part) <= jws.LONGEST_HEADER:
            longest = max(longest, measured(jws.read_header(part.encode())))
    assert jws.HEADERS * (longest + jws.LONGEST_HEADER) < 8 * 2**20


def test_large_certificates_are_read_each_time() -> None:
    """A proxy or TLS has proved them, so that they are not anybody's; and yet bounded."""
    assert certificates.CERTIFICATES * certificates.LONGEST_CERTIFICATE <= 4 * 2**20
    names = [f"dns:dns-{number:040}.example" for number in range(200)]
    der = ssl.PEM_cert_to_DER_cert(authority("A").issue("CN=large", *names)[0].decode())
    assert len(der) > certificates.LONGEST_CERTIFICATE
    cases: list[tuple[Any, object]] = [
        (certificates.peer_certificate, der),
        (credentials._certificate, b"x" * (2 * certificates.LONGEST_CERTIFICATE + 1)),
        (forwarded._certificate, "x" * (2 * certificates.LONGEST_CERTIFICATE + 1)),
    ]
    for read, argument in cases:
        before = read.cache_info()
        with contextlib.suppress(ValueError, CallerUnauthenticated):  # what is wrong with it is not what this is about
            read(argument)
        assert read.cache_info() == before


def test_long_records_of_profiles_are_read_each_time() -> None:
    identity = Identity("idp", "\U0001f600" * 1500)
    link = records.Link("ada")
    raw = records.dump_link(identity, link)
    assert len(raw) > records.LONGEST
    before = records._remembered_link.cache_info()
    assert records.parse_link(identity, raw) == link
    assert records.parse_link(identity, None) is None
    assert records._remembered_link.cache_info() == before


def test_a_token_that_may_be_given_out_again_takes_no_more_than_its_bound() -> None:
    async def never(_: object) -> bool:
        return False

    window = ReuseWindow(never)
    largest = 0
    for number in range(reuse.ENTRIES + 5):
        claims = {"x": ["y"] * 1000, "n": number}
        asked = grant(reuse_window=5, claims=claims)
        token = Secret("t" * 8192)
        minted = MintedToken(token, "urn", "Bearer", 0, (), "kid", f"{number}", "ada")
        window.remember(asked, minted)
        key = reuse._key(asked, "kid")
        largest = max(largest, measured((key, (asked.issued_at, minted))))
    assert window._minted.size <= reuse.SIZE
    assert len(window) * largest <= reuse.SIZE
    assert 100 < len(window) <= reuse.ENTRIES


async def test_a_large_value_of_the_store_is_not_kept() -> None:
    class Large:
        async def read_many(self, keys: list[str]) -> Reading:
            return Reading([b"x" * int(key) for key in keys], ["one"] * len(keys))

    near = NearCache(Large(), ("",), 100 * nearcache.PROFILE, FakeClock())  # type: ignore[arg-type]
    lane = near._lanes["one"] = Lane("near:", None)
    lane.complete_until = 0.0
    for size in (nearcache.LONGEST, nearcache.LONGEST + 1):
        assert len(await near.get(str(size)) or b"") == size
    assert len(near) == 0  # the first one fills more than the cache, and goes too
    for number in range(600):
        await near.get(str(number))
        assert near.size <= 100 * nearcache.PROFILE
    held = sum(sys.getsizeof(key) + sys.getsizeof(entry) + measured(entry.raw) for key, entry in near._entries.items())
    assert len(near) > 50
    assert held <= near.size


def test_sightings_of_verifiers_are_bounded_in_number_and_bytes() -> None:
    log = JwksFetchLog(None, None, FakeClock())  # type: ignore[arg-type]
    for number in range(verifiers.LIMIT + 50):
        log.saw("1" * 5000, f"{number}\U0001f600" * 4000, number)
    assert len(log._seen) == len(log._news) == verifiers.LIMIT
    assert max(measured(one) for one in log._seen.values()) < 1024


def test_clients_of_firebase_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant is named by a token, which its project signed."""
    clients = FirebaseClients()
    monkeypatch.setattr(clients, "_make", lambda *_: object())
    for number in range(MAX_CLIENTS + 20):
        clients.client(FirebaseProject("p"), f"tenant-{number}")
    assert len(clients._clients) == MAX_CLIENTS


# --- what they are made of ----------------------------------------------------------------------------------------


def test_the_oldest_go_where_there_is_no_room() -> None:
    known: Remembered[str, int] = Remembered(entries=3, size=5 * OVERHEAD, largest=2 * OVERHEAD)
    for number in range(5):
        known.remember(str(number), number, 10)
    assert [known.find(str(number)) for number in range(5)] == [None, None, 2, 3, 4]
    known.remember("large", 1, OVERHEAD)
    assert [known.find(str(number)) for number in range(5)] == [None, None, None, 3, 4]
    known.remember("4", 1, OVERHEAD + 1)  # too large, and what was there is no longer true
    assert known.find("4") is None
    assert known.size == sum(size for _, size in known._values.values()) <= 5 * OVERHEAD
    known.remember("3", 30, 0)
    assert (known.find("3"), len(known)) == (30, 2)
    for key in ("3", "large", "nothing"):
        known.forget(key)
    assert (known.size, len(known)) == (0, 0)


def test_short_arguments_are_remembered_and_failures_are_not() -> None:
    asked: list[str] = []

    @remembered_where_short(2, 3)
    def read(text: str) -> str:
        asked.append(text)
        if text == "bad":
            raise ValueError(text)
        return text.upper()

    for _ in range(2):
        assert (read("abc"), read("abcd")) == ("ABC", "ABCD")
        with pytest.raises(ValueError, match="bad"):
            read("bad")
    assert asked == ["abc", "abcd", "bad", "abcd", "bad"]


def test_every_cache_is_in_the_table_of_the_architecture() -> None:
    """A cache that is new has to be thought about: its bound, and who can fill it."""
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## What is remembered")[2].partition("\n## ")[0]
    made = re.compile(
        r"@lru_cache|@cache\b|lru_cache\(maxsize|@remembered_where_short|: Remembered\[|OrderedDict\[|deque\["
    )
    service = ROOT / "service" / "tokenmint"
    files = [
        file for file in service.rglob("*.py") if made.search(file.read_text()) and file.name != "bounded_cache.py"
    ]
    assert len(files) > 8
    for file in files:
        assert f"`{file.relative_to(service).as_posix()}`" in table, file


# --- the depth of JSON ---------------------------------------------------------------------------------------------


def strict_depth(text: bytes) -> int:
    """The depth of JSON, one character after the other."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in text.decode("latin-1"):
        if in_string:
            in_string, escaped = escaped or byte != '"', not escaped and byte == "\\"
        elif byte == '"':
            in_string = True
        elif byte in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in "]}":
            depth -= 1
    return deepest


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"[" * 16 + b"]" * 16, 16), (b"[" * 17 + b"]" * 17, 17), (b'{"a":' * 16 + b"1" + b"}" * 16, 16),
        (b'{"a":' * 17 + b"1" + b"}" * 17, 17), (b"[" + b",".join([b"[{}]"] * 3000) + b"]", 3),
        (b'["' + b"[" * 9000 + b'"]', 1), (b'["\\\\",' + b"[" * 16 + b"]" * 16 + b"]", 17),
        (b'["\\"' + b"[" * 40 + b'"]', 1), (b'["\\\\\\"' + b"[" * 40 + b'"]', 1),
        (b'["\\\\\\\\"' + b",[]" * 40 + b"]", 2),
    ],
)  # fmt: skip
def test_brackets_count_where_they_are_structure(text: bytes, depth: int) -> None:
    assert strict_depth(text) == depth
    json.loads(text)
    for most in (depth - 1, depth, depth + 1):
        assert jws.is_deeper(text, most) is (depth > most)


@pytest.mark.parametrize(
    "text", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 2000 + b"x" + b"]" * 2000, b'"' * 999 + b"["]
)
def test_what_is_deep_or_broken_is_refused(text: bytes) -> None:
    with pytest.raises(TokenRejected):
        jws.parse_object(text, "payload")
