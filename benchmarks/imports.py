"""Imports of profiles into a store of each kind: time and rate, and a kill in the middle that is resumed.

    make bench-import                     # 100,000 profiles into each store
    make bench-import PROFILES=10000

Each import is `tokenmint profiles import` against `tokenmint serve`, as an operator runs them. The second run of a store
is killed (SIGKILL) when half of the profiles are acknowledged, and started again. Then the store is counted.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from tests.process import Service, configure, environment, write_kek

from benchmarks.machine import Load, describe
from tokenmint.storage.embedded import find_engine

STORES: Final = ("embedded", "always", "everysec")
OPERATOR: Final = {"TOKENMINT_CLIENT_ID": "root", "TOKENMINT_CLIENT_SECRET": "tms_test-operator"}
POLL: Final = 0.02  # seconds between looks at the place that an import keeps


def main() -> None:
    """Import, kill, resume, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--stores", nargs="*", default=STORES, choices=STORES)
    arguments = parser.parse_args()
    print("; ".join(f"{name}: {value}" for name, value in describe().items()), flush=True)
    for store in arguments.stores:
        for name, value in measured(store, arguments.profiles):
            print(f"{store:9} {name:28} {value}", flush=True)


def measured(store: str, count: int) -> Iterator[tuple[str, object]]:
    """Yield the figures of imports into a store."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        file = write_profiles(directory / "people.jsonl", count)
        with running(store, directory / "whole") as (service, reader):
            load, ended, spent = Load(), ended_children(), processor_time(service, reader)
            started = time.perf_counter()
            told = imported(service, file)
            whole = time.perf_counter() - started
            command = ended_children() - ended
            parts = [after - before for after, before in zip(processor_time(service, reader), spent, strict=True)]
            yield "processor, command", f"{command:.1f} s"
            yield "processor, service and store", f"{parts[0]:.1f} s and {parts[1]:.1f} s"
            yield "machine", load.so_far()
            yield "imported", f"{told['created_count']} in {whole:.1f} s, {count / whole:.0f}/s"
            yield "... of it sending", f"{told['seconds']:.1f} s, {count / told['seconds']:.0f}/s"
            yield "in the store", stored(reader)
        with running(store, directory / "killed") as (service, reader):
            yield "killed at", killed(service, file, count // 2)
            yield "in the store then", stored(reader)
            told = imported(service, file)
            yield "resumed after", told["resumed_after"]
            yield "in the store at the end", stored(reader)


def write_profiles(file: Path, count: int) -> Path:
    """Write a file of profiles of usual length."""
    with file.open("w") as stream:
        for number in range(count):
            profile = {
                "principal": f"user-{number}",
                "identities": [{"provider": "idp", "subject": f"{10**20 + number}"}],
                "roles": ["clerk", "reader"],
                "claims": {"tenant": "engines", "level": 3, "mail": f"user{number}@example.com"},
            }
            stream.write(json.dumps(profile) + "\n")
    return file


@contextmanager
def running(store: str, directory: Path) -> Iterator[tuple[Service, "redis.Redis"]]:
    """Run a service on a new store of a kind, and a connection to that store."""
    directory.mkdir()
    configure(directory)
    socket = directory / "data" / "server.sock"
    changes: dict[str, str] = {}
    valkey = None
    if store != "embedded":
        socket = directory / "valkey.sock"
        valkey = valkey_at(socket, directory, store)
        write_kek(directory)
        changes = {"TOKENMINT_REDIS__URL": f"unix://{socket}", "TOKENMINT_KEYS__ENCRYPTION_KEY_FILE": "kek"}
    try:
        with Service(directory, **changes) as service, redis.Redis(unix_socket_path=str(socket)) as reader:
            yield service, reader
    finally:
        if valkey is not None:
            valkey.terminate()
            valkey.wait()


def valkey_at(socket: Path, directory: Path, appendfsync: str) -> "subprocess.Popen[bytes]":
    """Start a Valkey and wait until it answers."""
    settings = {"port": "0", "unixsocket": str(socket), "dir": str(directory), "appendonly": "yes", "save": ""}
    settings |= {"appendfsync": appendfsync, "maxmemory-policy": "noeviction"}
    options = [item for name, value in settings.items() for item in (f"--{name}", value)]
    process = subprocess.Popen([find_engine().path, *options], stdout=subprocess.DEVNULL)
    while True:
        try:
            redis.Redis(unix_socket_path=str(socket)).ping()
        except redis.RedisError:
            time.sleep(POLL)
        else:
            return process


def ended_children() -> float:
    """Return the seconds of a processor that the children that have ended used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def processor_time(service: Service, reader: "redis.Redis") -> tuple[float, float]:
    """Return the seconds of a processor that the service and its store have used."""
    info: dict[str, Any] = reader.info("cpu")
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return ticks, float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def imported(service: Service, file: Path) -> dict[str, Any]:
    """Import a file; return what the command says."""
    command = [sys.executable, "-m", "tokenmint", "profiles", "import", str(file), "-o", "json"]
    environ = environment(TOKENMINT_TARGET=service.listen["admin"], **OPERATOR)
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def killed(service: Service, file: Path, after: int) -> int:
    """Import a file and kill the command once so many profiles are acknowledged; return how many were."""
    place = file.with_name(file.name + ".import")
    command = [sys.executable, "-m", "tokenmint", "profiles", "import", str(file)]
    environ = environment(TOKENMINT_TARGET=service.listen["admin"], **OPERATOR)
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    while process.poll() is None and acknowledged(place) < after:
        time.sleep(POLL)
    process.kill()
    process.wait()
    return acknowledged(place)


def acknowledged(place: Path) -> int:
    """Return how many profiles the kept place says are acknowledged."""
    return int(json.loads(place.read_text())["profiles"]) if place.exists() else 0


def stored(reader: "redis.Redis") -> str:
    """Return how many profiles and identities are in the store."""
    keys = list(reader.scan_iter("*", count=10_000))
    profiles, identities = (sum(key.startswith(prefix) for key in keys) for prefix in (b"tm:profile:", b"tm:identity:"))
    return f"{profiles} profiles, {identities} identities"


if __name__ == "__main__":
    main()
