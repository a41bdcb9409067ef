"""The benchmark's tables are about the code as it is, and its bars follow from the figures."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benchmarks import bars, report, rows, steps
from benchmarks.contenders import processes
from docs.generate import RUN

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "benchmarks" / "runs").glob("*.json"))


@pytest.mark.parametrize("step", steps.STEPS, ids=lambda step: step.function)
def test_every_step_names_a_function_of_the_code(step: steps.Step) -> None:
    assert steps.code_of(step.function).co_name == step.function.rpartition(".")[2]


@pytest.mark.parametrize(
    "function", ["rpc.codec.Codec._gone", "rpc.gone.Codec._decode", "rpc.interceptors.Guard._unary.gone"]
)
def test_a_function_that_is_gone_is_named(function: str) -> None:
    with pytest.raises(LookupError, match=re.escape(function)):
        steps.code_of(function)


def test_no_function_is_a_step_twice() -> None:
    assert len(steps.codes()) == len(steps.STEPS)


def test_what_a_step_remembers_is_in_the_table_of_what_is_remembered() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## What is remembered")[2].partition("\n## ")[0]
    where = {step.where for step in steps.STEPS if step.cached}
    assert [
        file for file in where if f"`{file}`" not in table or not (ROOT / "service/tokenmint" / file).exists()
    ] == []
    assert all(bool(step.cached) == bool(step.where) for step in steps.STEPS)


@pytest.mark.parametrize("file", [file for file in RUNS if file.stem.endswith("-steps")], ids=lambda file: file.stem)
def test_measured_steps_are_steps_of_the_table(file: Path) -> None:
    known = {step.function for step in steps.STEPS} | {""}
    measured = {one["function"] for one in json.loads(file.read_text())["steps"]}
    assert measured <= known, "measure anew: make profile OUT=benchmarks/runs/NAME-steps.json"


def test_the_page_shows_a_run_that_is_kept() -> None:
    assert {RUN, f"{RUN}-steps"} <= {file.stem for file in RUNS}


def outcome(**cpu: float) -> dict[str, Any]:
    """Return a run of two rounds with a row for each that there is, of which some have other CPU times than 100 µs."""
    results: list[dict[str, Any]] = [
        {
            "round": number, "scenario": row.scenario, "contender": row.who.name, "refused": 0,
            "cpu_us": cpu.get(row.who.name, 100.0) * number, "p50_ms": 2.0, "p99_ms": 7.0,
        }
        for number in (1, 2)
        for row in rows.rows("abc1234")
    ]  # fmt: skip
    start = {"scenario": "start", "contender": "native", "refused": 0, "ready_seconds": 0.9, "idle_rss_mb": 111.0}
    results += [start | {"round": 1}, start | {"round": 2}]
    bound = {"rs256_verify_us": 20.0, "es256_sign_us": 20.0, "rs256_sign_us": 55.0}
    return {
        "date": "2026-11-29", "seconds": 1.0, "beside": "abc1234", "results": results,
        "bounds": [{"round": 1} | bound, {"round": 2} | bound], "memory": {"after_mb": 170.0},
    }  # fmt: skip


def test_every_bar_follows_from_rows_that_are_measured() -> None:
    cleared = bars.cleared(outcome())
    assert [one.bar.name for one in cleared] == [*(bar.name for bar in bars.BARS), bars.MEMORY.name]
    assert all(one.rounds == 2 for one in cleared[:-1])


def test_a_bar_is_judged_by_the_ratios_within_rounds() -> None:
    by_name = {one.bar.name: one for one in bars.cleared(outcome(Go=200.0, **{"Go, same job": 190.0}))}
    go, full = (by_name[bars.BARS[place].name] for place in (0, 1))
    assert (go.figure, go.least, go.most, go.passed) == (0.5, 0.5, 0.5, True)
    assert full.figure == pytest.approx(100 / 190)
    assert not full.passed
    share = by_name[bars.BARS[3].name]
    assert share.figure == pytest.approx(0.3)
    assert (share.least, share.most, share.passed) == (0.2, 0.4, False)
    assert by_name["ready after, s"].passed
    assert not by_name["RSS of an idle worker, MB"].passed


def test_a_bar_without_its_rows_is_left_out() -> None:
    some = outcome()
    some["results"] = [one for one in some["results"] if one["contender"] in ("native", "Go")]
    del some["memory"]
    names = [one.bar.name for one in bars.cleared(some)]
    assert bars.BARS[0].name in names
    assert bars.BARS[1].name not in names
    assert bars.MEMORY.name not in names


def test_a_run_is_written_so_that_it_reads_the_same() -> None:
    assert json.loads(report.dumped(outcome())) == outcome()


def test_a_table_has_the_ratio_to_its_first_row_and_counts_refusals() -> None:
    some = outcome(Go=50.0)
    some["results"][1]["refused"] = 3
    table = report.row_tables(some).partition("**exchange**")[2].partition("**")[0]
    header, _, native, *others = table.strip().splitlines()
    assert header == "|  | CPU µs a call | p50 ms | p99 ms | refused | CPU of native |"
    assert native == "| native | 150 | 2.0 | 7.0 | 0 | 1.00 |"
    assert "| Go | 75 | 2.0 | 7.0 | 3 | 0.50 |" in others


def test_descendants_of_a_server_are_found() -> None:
    shell = subprocess.Popen(["sh", "-c", "(echo up; cat); true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"up\n"
        assert processes(shell.pid)[0] == shell.pid
        assert len(processes(shell.pid)) >= 2
        assert shell.stdin is not None
        shell.stdin.close()
