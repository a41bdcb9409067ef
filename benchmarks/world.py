"""The world that every contender meets: a provider, a store with profiles, subject tokens, and a client.

Tokens are made once, in `build/bench`, and used again while they live. Everything is on loopback.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import multiprocessing
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles import records
from tokenmint.storage.embedded import find_engine

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build" / "bench"
ISSUER: Final = "https://idp.example"
AUDIENCE: Final = "https://orders.example"
RSA_AUDIENCE: Final = "https://legacy.example"
CLIENT: Final = "bench"
CLIENT_SECRET: Final = "tms_benchmark-client"
PRINCIPALS: Final = 10_000
TOKENS_EACH: Final = 2
"""Together more tokens than any cache of verified ones holds, so that each counts as a token that was never seen."""
FEW_PRINCIPALS: Final = 300
COLD_PRINCIPALS: Final = 30_000
"""Further principals, with a token each, of which each is exchanged once."""
LIFETIME: Final = 24 * 3600  # seconds that a subject token lives
PREFIX: Final = "tm:"
BESIDE_PREFIX: Final = "tm-beside:"
"""Of the commit beside this one, which may not read the key ring of this one."""
PEER_PREFIX: Final = "peer:"


@dataclass(frozen=True, slots=True)
class World:
    """The addresses and files of a run."""

    jwks_url: str
    redis_url: str
    store: int
    """The store's process."""
    tokens: Path
    """The file of subject tokens of usual rows."""


MANY, FEW, ONCE = "many", "few", "once"
"""The principals of a row: `PRINCIPALS` in turn, `FEW_PRINCIPALS` in turn, or `COLD_PRINCIPALS` of which each comes once."""


def provider_key() -> rsa.RSAPrivateKey:
    """Return the provider's key, the same in every run."""
    file = BUILD / "provider.pem"
    if not file.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        new = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        file.write_bytes(
            new.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign(principals: Sequence[int]) -> list[str]:
    key, now = provider_key(), int(time.time())
    header = b64(json.dumps({"alg": "RS256", "kid": "k1", "typ": "JWT"}).encode())
    tokens = []
    for principal in principals:
        claims = {
            "iss": ISSUER, "sub": f"user-{principal}", "aud": "app", "iat": now, "exp": now + LIFETIME,
            "email": f"user-{principal}@example.com", "email_verified": True, "name": f"User {principal}",
            "auth_time": now - 60, "sid": secrets.token_hex(16),
        }  # fmt: skip
        unsigned = f"{header}.{b64(json.dumps(claims, separators=(',', ':')).encode())}"
        tokens.append(f"{unsigned}.{b64(key.sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256()))}")
    return tokens


def tokens_of(principals: str) -> Path:
    """Return the file of subject tokens of `MANY`, `FEW` or `ONCE`. No two tokens are equal."""
    return {MANY: warm_tokens, FEW: few_tokens, ONCE: cold_tokens}[principals]()


def warm_tokens() -> Path:
    """Return the file of subject tokens of principals that come again."""
    return _signed(BUILD / "tokens.txt", [number % PRINCIPALS for number in range(PRINCIPALS * TOKENS_EACH)])


def few_tokens() -> Path:
    """Return the file of subject tokens of few principals, who come several times a second."""
    return _signed(BUILD / "tokens-few.txt", [number % FEW_PRINCIPALS for number in range(PRINCIPALS)])


def cold_tokens() -> Path:
    """Return the file of subject tokens of principals that come once."""
    return _signed(BUILD / "tokens-cold.txt", list(range(PRINCIPALS, PRINCIPALS + COLD_PRINCIPALS)))


def _signed(file: Path, principals: list[int]) -> Path:
    if not file.exists() or time.time() - file.stat().st_mtime > LIFETIME / 2:
        provider_key()
        step = 2000
        print(f"signing {len(principals)} subject tokens (once a day) ...", flush=True)
        with multiprocessing.Pool() as pool:
            parts = pool.map(_sign, [principals[start : start + step] for start in range(0, len(principals), step)])
        file.write_text("\n".join(token for part in parts for token in part) + "\n")
    return file


def certificate() -> tuple[Path, Path]:
    """Return the files of a certificate for 127.0.0.1, its own authority, and of its key; makes them once a day."""
    files = BUILD / "tls.crt", BUILD / "tls.key"
    if files[0].exists() and time.time() - files[0].stat().st_mtime < LIFETIME:
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    BUILD.mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def _provider_document() -> bytes:
    numbers = provider_key().public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    members = {"kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig"}
    return json.dumps({"keys": [members | {"n": b64(numbers.n.to_bytes(size)), "e": "AQAB"}]}).encode()


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """Serve the provider's key set. Yields its URL."""
    document = _provider_document()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Cache-Control", "max-age=3600")
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's signature
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def world(core: int, *, cold: bool = True) -> Iterator[World]:
    """Make the world, its store on ``core``; without ``cold`` it has no principals that come once."""
    tokens = warm_tokens()
    principals = PRINCIPALS + COLD_PRINCIPALS if cold else PRINCIPALS
    with provider() as jwks_url, valkey(core, principals) as (redis_url, store):
        yield World(jwks_url, redis_url, store, tokens)


@contextlib.contextmanager
def valkey(core: int, principals: int) -> Iterator[tuple[str, int]]:
    """Run a Valkey (or Redis) with an append-only file on ``core``, with so many profiles. Yields URL and process."""
    engine = find_engine()
    directory = BUILD / "store"
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.rglob("*.aof*"):
        file.unlink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["taskset", "-c", str(core), engine.path, "--bind", "127.0.0.1", "--port", str(port), "--save", "",
         "--appendonly", "yes", "--appendfsync", "everysec", "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        client = redis.Redis(port=port)
        for _ in range(200):
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                break
            time.sleep(0.05)
        fill(client, principals)
        fill(client, PRINCIPALS, BESIDE_PREFIX)
        client.close()
        yield f"redis://127.0.0.1:{port}/0", process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


def fill(client: redis.Redis, count: int, prefix: str = PREFIX) -> None:
    """Write the profiles of ``count`` principals, as the service keeps them and as a peer would."""
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        identity = Identity("idp", f"user-{number}")
        principal = f"p{number:06}"
        profile = Profile(
            principal=principal,
            identities=(identity,),
            claims={"tenant": f"tenant-{number % 100}", "plan": "gold", "region": "eu"},
            roles=("reader", "buyer"),
            create_time=1.0,
            update_time=1.0,
        )
        # The bytes that the service itself would write; ten thousand confirmed writes would take minutes.
        link = records.Link(principal)
        pipeline.set(prefix + records.identity_key(identity), records.dump_link(identity, link))
        raw = records.dump_profile(profile)
        pipeline.set(f"{prefix}profile:{principal}", raw)
        pipeline.set(f"{PEER_PREFIX}{identity.subject}", raw)
        if number % 1000 == 999:
            pipeline.execute()


def secret_hash() -> str:
    """Return the SHA-256 of the client's secret, as configurations have it."""
    return hashlib.sha256(CLIENT_SECRET.encode()).hexdigest()


def pin(core: int) -> None:
    """Keep this process, and those that it starts, on one core."""
    os.sched_setaffinity(0, {core})
