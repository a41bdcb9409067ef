"""`pytest -n NUMBER`: the tests in forks of the process that collected them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.processes]
ROOT = Path(__file__).parents[2]
CONFTEST = "from tests.parallel import pytest_addoption, pytest_runtestloop"
TESTS = {
    "test_shared.py": """
        import os, pathlib, warnings, pytest
        HERE = pathlib.Path(__file__).parent

        @pytest.fixture(scope="session")
        def of_the_session():
            yield
            (HERE / "ended").write_text("session")

        @pytest.fixture(scope="module", autouse=True)
        def of_the_module(of_the_session):
            print("begun")
            yield
            (HERE / "module").touch(exist_ok=False)

        def test_a_folder_of_its_own(tmp_path): tmp_path.joinpath("file").touch(exist_ok=False)
        def test_warns(): warnings.warn("a warning")
        @pytest.mark.skip(reason="a reason")
        def test_skipped(): pass
        @pytest.mark.xfail
        def test_expected(): raise ValueError
    """,
    "test_fails.py": """
        def test_fails():
            print("an output")
            assert 1 == 2
    """,
    "test_ends.py": """
        import os, signal
        def test_before(): pass
        def test_exits(): os._exit(7)
        def test_between(): pass
        def test_killed(): os.kill(os.getpid(), signal.SIGKILL)
        def test_interrupted(): os.kill(os.getpid(), signal.SIGINT)
        def test_after(): pass
    """,
    "test_end_of_fixture.py": """
        import pytest
        @pytest.fixture(scope="module")
        def broken():
            yield
            raise ValueError("not ended")
        def test_with_it(broken): pass
    """,
}


def written(folder: Path, *names: str, **more: str) -> Path:
    """Write the tests of these names, and further ones."""
    tests = {"conftest.py": CONFTEST, **{name: TESTS[name] for name in names}, **more}
    for name, text in tests.items():
        lines = text.splitlines()
        (folder / name).write_text("\n".join(line[8:] if len(lines) > 1 else line for line in lines))
    return folder


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:asyncio", "-p", "no:anyio", "-rA", *options]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "service", ROOT / "clients/python/src")))
    return subprocess.run(
        [*command, f"--rootdir={folder}", "--import-mode=importlib", f"--basetemp={folder / 'temporary'}", str(folder)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, "PYTEST_ADDOPTS": ""},
    )  # fmt: skip


def test_each_test_is_reported_as_in_one_process(tmp_path: Path) -> None:
    done = run(written(tmp_path, *TESTS), "-n", "3")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    summary = done.stdout.rpartition("short test summary info")[2]
    assert sorted(re.findall(r"^(FAILED|PASSED|XFAIL) \S+::(\w+)", summary, re.MULTILINE)) == [
        ("FAILED", "test_exits"), ("FAILED", "test_fails"), ("FAILED", "test_interrupted"), ("FAILED", "test_killed"),
        ("PASSED", "test_a_folder_of_its_own"), ("PASSED", "test_after"), ("PASSED", "test_before"),
        ("PASSED", "test_between"), ("PASSED", "test_warns"), ("PASSED", "test_with_it"), ("XFAIL", "test_expected"),
    ]  # fmt: skip
    assert "4 failed, 6 passed, 1 skipped, 1 xfailed, 1 warning, 1 error" in done.stdout
    for said in ("a warning", "an output", "begun", "assert 1 == 2", "not ended", "a reason"):
        assert said in done.stdout
    for how in ("exit status 7", "signal 9", "exit status 130"):
        assert f"the process of this test ended with {how}" in done.stdout
    assert (tmp_path / "ended").read_text() == "session"
    assert (tmp_path / "module").exists()


def test_a_test_that_hangs_fails_with_the_place_and_the_others_are_run(tmp_path: Path) -> None:
    hangs = """
        import threading
        def test_before(): pass
        def test_hangs(): threading.Event().wait()
        def test_after(): pass
    """
    limits = ("-o", "faulthandler_timeout=1", "-o", "faulthandler_exit_on_timeout=true")
    other = "def test_other(): pass"
    done = run(written(tmp_path, **{"test_hanging.py": hangs, "test_other.py": other}), "-n", "2", *limits)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 3 passed" in done.stdout
    assert "the process of this test ended with exit status 1" in done.stdout
    assert re.search(r'test_hanging\.py", line \d+ in test_hangs', done.stderr)


def test_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    several = """
        def test_one(): pass
        def test_two(): pass
    """
    done = run(written(tmp_path, "test_fails.py", **{"test_several.py": several}), "-n", "2", "-x")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "stopping after 1 failures" in done.stdout


def test_a_process_that_ends_within_a_message_has_failed_its_test(tmp_path: Path) -> None:
    half = """
        import os
        from multiprocessing.connection import Connection
        def ends(self, message):
            os.write(self.fileno(), bytes(message[:3]))
            os._exit(1)
        def test_reports_half(): Connection._send = ends
        def test_after(): pass
    """
    other = "def test_other(): pass"
    done = run(written(tmp_path, **{"test_half.py": half, "test_other.py": other}), "-n", "2")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 passed" in done.stdout


def test_no_fork_is_made_where_a_thread_runs(tmp_path: Path) -> None:
    thread = """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="of-the-module").start()
        def test_one(): pass
        def test_two(): pass
    """
    done = run(written(tmp_path, **{"test_thread.py": thread}), "-n", "2")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "2 threads run after the collection (Python's: MainThread, of-the-module)" in done.stderr


def test_no_fork_is_made_where_grpc_runs(tmp_path: Path) -> None:
    channel = """
        import grpc
        channel = grpc.insecure_channel("127.0.0.1:1")
        def test_one(): pass
        def test_two(): pass
    """
    done = run(written(tmp_path, **{"test_channel.py": channel}), "-n", "2")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "threads run after the collection" in done.stderr


def test_a_run_without_tests_says_so(tmp_path: Path) -> None:
    assert run(written(tmp_path), "-n", "2").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_module_that_can_not_be_read_ends_the_run(tmp_path: Path) -> None:
    done = run(written(tmp_path, "test_ends.py", **{"test_wrong.py": "raise ValueError('no test')"}), "-n", "2")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "no test" in done.stdout
