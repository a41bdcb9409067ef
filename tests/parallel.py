"""Runs the tests in several processes, which are forks of the process that has collected them: `pytest -n NUMBER`.

The collection computes for seconds, nearly all of them for imports. Here it runs once, and a fork takes 30 ms. The
forks ask for batches of tests, and report each test. If a fork ends, the test that it ran has failed, and another fork
runs the rest of its batch. A fork has none of its parent's threads, but all of their locks: so none may run before.
"""

import atexit
import itertools
import mmap
import multiprocessing
import signal
import sys
import threading
import warnings
from collections import deque
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

import pytest
from tests.order import Batches

_forks: Final = multiprocessing.get_context("fork")
_THREADS: Final = Path("/proc/self/task")
_PATIENCE: Final = 30.0
"""Seconds that forks have for their fixtures, after an interrupt."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("parallel")._addoption(  # the public method has no short options for plugins
        "-n", "--processes", type=int, default=1, metavar="NUMBER", help="run the tests in this number of processes"
    )


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in several processes, if the option asks for it."""
    option = session.config.option
    processes = min(option.processes, len(session.items))
    if processes < 2 or option.collectonly or option.usepdb or session.testsfailed:
        return None
    Parallel(session, processes).run()
    return True


def threads() -> int:
    """Return the number of this process's threads, also of those that Python does not know, such as grpc's."""
    return len(list(_THREADS.iterdir())) if _THREADS.exists() else threading.active_count()


class _Fork:
    """A process that runs tests, as its parent sees it."""

    def __init__(self, session: pytest.Session, number: int, tests: list[int], stop: mmap.mmap, others: list["_Fork"]):
        self.number = number
        """No other one has it."""
        self.tests = deque(tests)
        self.connection, its_end = _forks.Pipe()
        not_its_own = [self.connection, *(other.connection for other in others)]
        self.process = _forks.Process(target=_run, args=(session, number, its_end, list(tests), stop, not_its_own))
        self.process.start()
        its_end.close()

    def ended(self) -> str | None:
        """Wait for its end; return how it ended, if not well."""
        self.process.join()
        self.connection.close()
        code = self.process.exitcode
        return None if code == 0 else f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"


class Parallel:
    """The run of a session's tests, in the process that collected them."""

    def __init__(self, session: pytest.Session, processes: int) -> None:
        self._session = session
        self._hook = session.config.hook
        self._count = processes
        self._stop = mmap.mmap(-1, 1)
        self._forks: list[_Fork] = []
        self._numbers = itertools.count()
        items = session.items
        self._batches = Batches(
            range(len(items)),
            module=lambda at: items[at].path,
            waits=lambda at: items[at].get_closest_marker("processes") is not None,
            long=lambda at: "e2e" in items[at].path.parts or items[at].get_closest_marker("slow") is not None,
        )

    def run(self) -> None:
        """Run all tests, or those until the session should stop."""
        if (running := threads()) > 1:
            known = ", ".join(thread.name for thread in threading.enumerate())
            raise pytest.UsageError(
                f"{running} threads run after the collection (Python's: {known}), and forks would have their locks "
                "without them: start threads, and channels and servers of grpc, in fixtures and tests"
            )
        self._session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # made once, for all forks
        try:
            for _ in range(self._count):
                self._start([])
            while self._forks:
                for ready in wait([fork.connection for fork in self._forks]):
                    self._hear(next(fork for fork in self._forks if fork.connection is ready))
                if self._session.shouldfail or self._session.shouldstop:
                    self._stop[0] = 1
        finally:
            self._end()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _start(self, tests: list[int]) -> None:
        """Have a further process run these tests, or the next ones."""
        number = next(self._numbers)
        if tests := tests or self._batches.take(number):
            self._forks.append(_Fork(self._session, number, tests, self._stop, self._forks))

    def _hear(self, fork: _Fork) -> None:
        try:
            kind, content = fork.connection.recv()
        except (EOFError, OSError):  # also within a message
            self._forks.remove(fork)
            self._ended(fork)
            return
        if kind == "more":
            batch = [] if self._stop[0] else self._batches.take(fork.number)
            fork.tests.extend(batch)
            fork.connection.send(batch)
        elif kind == "warning":
            self._hook.pytest_warning_recorded.call_historic(kwargs=content)
        elif kind == "stop":
            self._session.shouldstop = content
        else:
            self._report(fork.tests.popleft(), content)

    def _report(self, test: int, reports: list[dict[str, Any]]) -> None:
        item = self._session.items[test]
        self._hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in reports:
            report = self._hook.pytest_report_from_serializable(config=self._session.config, data=data)
            self._hook.pytest_runtest_logreport(report=report)
        self._hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _ended(self, fork: _Fork) -> None:
        """Fail the test at which a process ended, and have another one run the rest."""
        how = fork.ended()
        if fork.tests and not self._stop[0]:
            lost = self._session.items[fork.tests.popleft()]
            self._fail(lost.nodeid, lost.location, f"the process of this test ended with {how or 'exit status 0'}")
            self._start(list(fork.tests))
        elif how is not None and not self._stop[0]:
            name = f"process {fork.number}"
            self._fail(
                name, (name, None, name), f"the process ended with {how} after its tests: see its traceback above"
            )

    def _fail(self, name: str, location: tuple[str, int | None, str], why: str) -> None:
        report = pytest.TestReport(name, location, {}, "failed", why, "call")
        self._hook.pytest_runtest_logreport(report=report)

    def _end(self) -> None:
        """Let the processes that still run end their fixtures, and end those that do not."""
        self._stop[0] = 1
        for fork in self._forks:
            fork.connection.close()
        for fork in self._forks:
            fork.process.join(_PATIENCE)
            fork.process.kill()
            fork.process.join()


class _Sender:
    """The plugin that sends, in a fork, what the parent has to report."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection
        self.live = False
        """Warnings of the collection come again when the plugin is registered: the parent has them."""
        self.reports: list[Any] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        plain = warnings.WarningMessage(
            str(warning_message.message), warning_message.category, warning_message.filename, warning_message.lineno
        )
        content = {"warning_message": plain, "when": when, "nodeid": nodeid, "location": location}
        if self.live:
            self._connection.send(("warning", content))


def _run(
    session: pytest.Session,
    number: int,
    connection: Connection,
    tests: list[int],
    stop: mmap.mmap,
    others: list[Connection],
) -> None:
    """Run batches of tests, as a fork."""
    atexit._clear()  # those of the parent are its own
    for other in others:
        other.close()
    config = session.config
    _part(config, number)
    sender = _Sender(config, connection)
    config.pluginmanager.register(sender)
    sender.live = True
    left = deque(tests)
    try:
        while left and not stop[0] and not session.shouldfail and not session.shouldstop:
            item = session.items[left.popleft()]
            if not left:  # a fixture's end depends on the next test
                connection.send(("more", None))
                left.extend(connection.recv())
            following = session.items[left[0]] if left else None
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            connection.send(("reports", sender.reports))
            sender.reports = []
        if session.shouldstop:
            connection.send(("stop", str(session.shouldstop)))
    except pytest.exit.Exception as stopped:
        connection.send(("stop", str(stopped)))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has ended
    finally:
        try:
            config.pluginmanager.getplugin("runner").pytest_sessionfinish(session)
        finally:
            atexit._run_exitfuncs()


def _part(config: pytest.Config, number: int) -> None:
    """Part from the parent: its terminal and its files are not this process's."""
    for name in ("terminalreporter", "junitxml"):
        config.pluginmanager.unregister(name=name)
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    factory = config._tmp_path_factory  # type: ignore[attr-defined]  # pytest's own way
    factory._basetemp = factory.getbasetemp() / f"fork-{number}"
    factory._basetemp.mkdir(mode=0o700)
