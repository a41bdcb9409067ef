"""`.ci/run`, with a `make` that fails where the test says so: a job that fails ends no other."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.pages import ROOT

MAKE = """\
#!/bin/sh
echo "$@" >> "$MADE"
case " $BROKEN " in *" $1 "*) exit 3 ;; esac
"""


INSTALLER = """\
#!/bin/sh
echo "$@" >> "$INSTALLED"
"""
TOOLS = ("bash", "env", "sh", "dirname", "cat", "mktemp", "tee", "grep", "cut", "tail", "rm", "sleep")
"""The programs of the machine that the script and the fakes need. It finds no other one."""
SCRIPT = (ROOT / ".ci" / "run").read_text()


def write(folder: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    """Write a program."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script, and with programs that only write down how they were called.

    All that the script needs is there, so a job installs nothing. If it did, the fake `apt-get` would write it down.
    """
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    for name in (*re.findall(r"^ *(?:.* )?need ([a-z0-9.-]+) [a-z]", SCRIPT, re.MULTILINE), "python3.11", "go"):
        write(programs, name)
    write(programs, "git", "#!/bin/sh\nexit 1\n")
    write(programs, "make", MAKE)
    write(programs, "apt-get", INSTALLER)
    return tmp_path


def ci(clone: Path, *jobs: str, broken: str = "") -> tuple[int, str, list[str]]:
    """Run it. Returns its status, what it says, and how make was called. It sees no program of the machine."""
    made = clone / "made"
    done = subprocess.run(
        [clone / ".ci" / "run", *jobs], capture_output=True, text=True, check=False,
        env={"PATH": f"{clone}/bin", "MADE": str(made), "INSTALLED": str(clone / "installed"), "BROKEN": broken},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, lines(made)


def lines(file: Path) -> list[str]:
    """Return the lines of a file, which may not be there."""
    return file.read_text().splitlines() if file.exists() else []


def rows(text: str) -> dict[str, str]:
    """Return the results of the table at the end, by job."""
    table = text[text.index("job  ") :].splitlines()[1:]
    assert all(figure.isdecimal() for row in table for figure in row.split()[2:])
    return {row.split()[0]: row.split()[1] for row in table}


def test_the_named_jobs_are_run_in_the_order_of_their_names(clone: Path) -> None:
    status, text, made = ci(clone, "check", "demo")
    assert (status, made) == (0, ["setup", "check", "demo"])
    assert rows(text) == {"check": "passed", "demo": "passed", "all": "passed"}


def test_a_job_that_fails_ends_no_other_and_fails_the_whole(clone: Path) -> None:
    status, text, made = ci(clone, "demo", "check", "test", broken="demo check")
    assert (status, made) == (1, ["setup", "demo", "check", "test"])
    assert rows(text) == {"demo": "FAILED", "check": "FAILED", "test": "passed", "all": "FAILED"}


def test_the_names_of_tests_that_failed_come_before_the_table(clone: Path) -> None:
    told = "echo 'E  a value'; echo FAILED a.py::b - $1; echo more; exit 1"
    write(clone / "bin", "make", MAKE + f'[ "$1" = setup ] || {{ {told}; }}\n')
    _, text, _ = ci(clone, "check", "demo")
    names = text[text.index("The last lines") : text.index("job  ")]
    assert names.split("\n")[1:] == ["", "check:", "FAILED a.py::b - check", "demo:", "FAILED a.py::b - demo", "", ""]


def test_a_program_that_a_job_has_left_behind_does_not_hold_the_others(clone: Path) -> None:
    """It has the job's output, which is read until nobody has it any more."""
    pid = clone / "pid"
    write(clone / "bin", "make", MAKE + f'[ "$1" != check ] || {{ sleep 600 & echo $! >> {pid}; }}\n')
    try:
        status, text, made = ci(clone, "check", "demo")
    finally:
        for one in lines(pid):
            os.kill(int(one), signal.SIGKILL)
    assert (status, made, rows(text)["all"]) == (0, ["setup", "check", "demo"], "passed")
    assert len(lines(pid)) == 1


def test_a_job_of_two_commands_runs_both_and_ends_with_the_first_that_fails(clone: Path) -> None:
    status, text, made = ci(clone, "chaos")
    assert (status, [line.split()[0] for line in made], rows(text)["chaos"]) == (
        0,
        ["setup", "chaos", "chaos"],
        "passed",
    )
    assert ["RESETS=2" in line for line in made] == [False, False, True]
    status, text, made = ci(clone, "chaos", broken="chaos")
    assert (status, len(made), rows(text)["chaos"]) == (1, 3 + 2, "FAILED")


def test_chaos_runs_beside_another_version_where_the_clone_has_that_commit(clone: Path) -> None:
    _, text, made = ci(clone, "chaos")
    assert not any("BESIDE" in line for line in made)
    (told,) = [line for line in text.splitlines() if "two versions" in line]
    write(clone / "bin", "git", '#!/bin/sh\n[ "$1 $2" = "cat-file -e" ]\n')
    (clone / "made").unlink()
    status, text, made = ci(clone, "chaos")
    assert (status, "two versions" in text, "RESETS=2" in made[2]) == (0, False, True)
    commit = made[2].partition("BESIDE=")[2]
    assert told == f"chaos: two versions on one store are left out: this clone has no commit {commit}"


def test_every_job_is_run_by_default(clone: Path) -> None:
    jobs = subprocess.check_output([clone / ".ci" / "run", "--list"], text=True).split()
    status, text, _ = ci(clone)
    assert status == 0
    assert list(rows(text)) == [*jobs, "all"]
    assert lines(clone / "installed") == []


@pytest.mark.parametrize(
    ("job", "command", "packages"),
    [
        ("test-processes", "fish", "fish"), ("test-gateways", "nginx", "nginx libnginx-mod-http-js"),
        ("test-site", "chromium", "chromium fonts-dejavu-core"), ("demo", "redis-server", "redis-server"),
    ],
)  # fmt: skip
def test_a_job_installs_the_packages_of_a_command_that_is_missing(
    clone: Path, job: str, command: str, packages: str
) -> None:
    (clone / "bin" / command).unlink()
    status, text, _ = ci(clone, job)
    assert (status, f"installing {packages}\n" in text) == (0, True)
    expected = ["update -qq", f"install -y -qq --no-install-recommends {packages}"]
    assert lines(clone / "installed") == expected


def test_a_job_that_does_not_exist_is_named_before_anything_is_run(clone: Path) -> None:
    status, text, made = ci(clone, "demo", "tests")
    assert (status, made) == (2, [])
    assert "there is no job tests: the jobs are demo check " in text


def test_without_what_every_job_needs_nothing_is_run(clone: Path) -> None:
    status, _, made = ci(clone, "demo", broken="setup")
    assert (status, made) == (1, ["setup"])
