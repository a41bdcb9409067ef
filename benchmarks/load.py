"""Puts load on a server, by the generator on the other core."""

import json
import subprocess
import sys
from typing import Any, Final

from benchmarks import world
from benchmarks.contenders import Running
from benchmarks.rows import STREAMS

SERVER_CORE: Final = 0
OTHER_CORE: Final = 1
GENERATOR: Final = world.BUILD / "generator"
URLS: Final = {"http": "/.well-known/jwks.json", "oauth": "/oauth2/token"}
"""The paths of the modes that speak HTTP."""

Answer = dict[str, Any]


def command(target: Running, where: world.World, **options: object) -> list[str]:
    """Return the command line of the generator. ``options`` are its own; those that are not given are usual."""
    mode = str(options.get("mode", "exchange"))
    url = f"http://{target.listen['http']}{URLS[mode]}" if mode in URLS else target.listen["grpc"]
    everything: dict[str, object] = {
        "target": url, "tokens": where.tokens, "client-id": world.CLIENT, "client-secret": world.CLIENT_SECRET,
        "streams": STREAMS, "server": target.pid, "store": where.store,
    }  # fmt: skip
    if target.contender.tls:
        everything["authority"] = world.certificate()[0]
    everything |= options
    words = ["taskset", "-c", str(OTHER_CORE), str(GENERATOR)]
    return words + [f"-{name}={str(value).lower() if value is True else value}" for name, value in everything.items()]


def load(target: Running, where: world.World, **options: object) -> Answer:
    """Put load on ``target``; return the generator's counts, times and CPU seconds."""
    done = subprocess.run(command(target, where, **options), capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode or not done.stdout:
        raise SystemExit(f"the generator failed at {target.contender.name}")
    answer: Answer = json.loads(done.stdout)
    return answer


def watch(target: Running, where: world.World, change: Any, **options: object) -> Answer:
    """Open streams of the key set at ``target``, let ``change`` change it, and return how that reached them."""
    words = command(target, where, mode="watch", **options)
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as generator:
        assert generator.stdin is not None
        assert generator.stdout is not None
        assert generator.stderr is not None
        if not generator.stderr.readline().startswith("watching"):
            raise SystemExit(f"the watchers failed at {target.contender.name}: {generator.stderr.read()}")
        generator.stdin.write("now\n")
        generator.stdin.flush()
        try:
            change()
        except Exception:
            generator.kill()
            raise
        answer: Answer = json.loads(generator.stdout.read() or "{}")
        if not answer:
            raise SystemExit(f"the watchers failed at {target.contender.name}: {generator.stderr.read()}")
    return answer
