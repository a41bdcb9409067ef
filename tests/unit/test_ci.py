"""`.ci/run`, with a `make` that fails where the test says so: a job that fails ends no other."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.pages import ROOT

MAKE = """\
#!/bin/sh
echo "$@" >> "$MADE"
case " $BROKEN " in *" $1 "*) exit 3 ;; esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script, and with programs that only write down how they were called."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "bin").mkdir()
    for name in (
        "make",
        "redis-server",
        "curl",
        "python3.11",
        "node",
        "npm",
        "faketime",
        "softhsm2-util",
        "chromium",
        "mvn",
        "javac",
    ):
        program = tmp_path / "bin" / name
        program.write_text(MAKE if name == "make" else "#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def ci(clone: Path, *jobs: str, broken: str = "") -> tuple[int, str, list[str]]:
    """Run it. Returns its status, what it says, and how make was called."""
    made = clone / "made"
    done = subprocess.run(
        [clone / ".ci" / "run", *jobs], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{clone}/bin:{os.environ['PATH']}", "MADE": str(made), "BROKEN": broken},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, made.read_text().splitlines() if made.exists() else []


def rows(text: str) -> dict[str, str]:
    """Return the results of the table at the end, by job."""
    table = text[text.index("job  ") :].splitlines()[1:]
    assert all(row.split()[2].isdecimal() for row in table)
    return {row.split()[0]: row.split()[1] for row in table}


def test_the_named_jobs_are_run_in_the_order_of_their_names(clone: Path) -> None:
    status, text, made = ci(clone, "check", "demo")
    assert (status, made) == (0, ["setup", "check", "demo"])
    assert rows(text) == {"check": "passed", "demo": "passed", "all": "passed"}


def test_a_job_that_fails_ends_no_other_and_fails_the_whole(clone: Path) -> None:
    status, text, made = ci(clone, "demo", "check", "test", broken="demo check")
    assert (status, made) == (1, ["setup", "demo", "check", "test COVERAGE=1"])
    assert rows(text) == {"demo": "FAILED", "check": "FAILED", "test": "passed", "all": "FAILED"}


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
    git = clone / "bin" / "git"
    git.write_text('#!/bin/sh\n[ "$1 $2" = "cat-file -e" ]\n')
    git.chmod(0o755)
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


def test_a_job_that_does_not_exist_is_named_before_anything_is_run(clone: Path) -> None:
    status, text, made = ci(clone, "demo", "tests")
    assert (status, made) == (2, [])
    assert "there is no job tests: the jobs are demo check " in text


def test_without_what_every_job_needs_nothing_is_run(clone: Path) -> None:
    status, _, made = ci(clone, "demo", broken="setup")
    assert (status, made) == (1, ["setup"])
