"""Builds each client from scratch, plays every scenario in every language against a live tokenmint, prints the table.

`make test-clients` runs it. A language whose toolchain is missing is skipped with a line that says so, unless
TOKENMINT_REQUIRE_LANES is set: then that is a failure.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.clients.building import LANGUAGES, build
from tests.clients.driver import Driver
from tests.clients.scenario import Play, expand
from tests.clients.world import World, wait_for, world
from tests.issuer import Issuer
from tests.process import CLIENT, environment

HERE: Final = Path(__file__).parent
EXAMPLE_LIMIT: Final = 300.0  # seconds
README: Final = "README's example in an empty project"
EXAMPLES: Final = "examples: caller and service"


def main() -> int:
    """Return 0 where everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("languages", nargs="*", default=list(LANGUAGES), help="default: all")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--no-build", action="store_true", help="with what was built before")
    arguments = parser.parse_args()
    document = json.loads((HERE / "scenarios.json").read_text())
    listed = document["scenarios"] + json.loads((HERE / "verifiers.json").read_text())["scenarios"]
    scenarios = [item for item in expand(listed) if arguments.only in item["name"]]
    failures: list[str] = []
    table: dict[str, dict[str, str]] = {}
    built = [name for name in arguments.languages if arguments.no_build or build(name, failures)]
    with tempfile.TemporaryDirectory(prefix="tmc") as temporary, world(Path(temporary)) as live:
        for language in built:
            started = time.monotonic()
            table[language] = {}
            play_all(language, scenarios, document["audiences"], live, table[language], failures)
            if not arguments.only:
                for name, example in ((README, readme_example), (EXAMPLES, examples)):
                    attempt(name, language, table[language], failures, partial(example, language, live))
            print(f"{language}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print_table(table)
    for failure in failures:
        print(f"\nFAILED {failure}")
    return 1 if failures else 0


def play_all(
    language: str,
    scenarios: list[dict[str, Any]],
    audiences: Mapping[str, str],
    live: World,
    column: dict[str, str],
    failures: list[str],
) -> None:
    """Play every scenario with one driver, or with a new one where it died."""
    driver: Driver | None = None
    for number, scenario in enumerate(scenarios):
        if driver is None:
            driver = Driver(HERE / "drivers" / language / "run", live.path(f"{language}-{number}.log"))
        play = Play(live, driver, audiences)
        held = attempt(scenario["name"], language, column, failures, partial(play.run, scenario))
        if not held:
            driver.close()
            driver = None
            live.mend()
    if driver is not None:
        attempt("the driver ends", language, column, failures, lambda: check(driver.close() == 0, "status"))


def attempt(name: str, language: str, column: dict[str, str], failures: list[str], action: Callable[[], None]) -> bool:
    """Do something that may fail, and note how it ended."""
    try:
        action()
    except (AssertionError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        column[name] = "FAILED"
        failures.append(f"{language}: {name}: {error!r}" if not isinstance(error, AssertionError) else
                        f"{language}: {name}: {error}")  # fmt: skip
        return False
    column[name] = "ok"
    return True


def check(holds: bool, what: str) -> None:
    """Raise where something does not hold."""
    if not holds:
        raise AssertionError(what)


def example_environment(live: World, **more: str) -> dict[str, str]:
    """Return the environment of the examples."""
    idp: Issuer = live.issuers["idp"]
    return environment(
        TOKENMINT_TARGET=live.main.listen["grpc"],
        TOKENMINT_CA_FILE=str(live.path("ca.pem")),
        TOKENMINT_CLIENT_ID="web",
        TOKENMINT_CLIENT_SECRET=CLIENT.reveal(),
        TOKENMINT_ISSUER=live.proxy.url,
        TOKENMINT_AUDIENCE="https://orders.example",
        SUBJECT_TOKEN=idp.token(time.time()),
        **more,
    )


def readme_example(language: str, live: World) -> None:
    """Install the built artefact into an empty project and run the README's example there."""
    with tempfile.TemporaryDirectory(prefix="tme") as empty:
        done = subprocess.run(
            [HERE / "drivers" / language / "example", empty],
            capture_output=True, text=True, timeout=EXAMPLE_LIMIT, check=False, env=example_environment(live),
        )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1:]
    check(
        done.returncode == 0 and last == ["hello ada"], f"status {done.returncode}: {done.stdout}{done.stderr[-3000:]}"
    )


def examples(language: str, live: World) -> None:
    """Run the example service, and the example caller against it."""
    log = live.path(f"{language}-service.log")
    with log.open("wb") as errors:
        service = subprocess.Popen(
            [HERE / "drivers" / language / "service"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=example_environment(live),
        )  # fmt: skip
    try:
        assert service.stdout is not None
        line = service.stdout.readline().strip()
        check(line.startswith("listening on http://127.0.0.1:"), f"{line!r} {log.read_text()[-2000:]}")
        done = subprocess.run(
            [HERE / "drivers" / language / "caller"],
            capture_output=True, text=True, timeout=EXAMPLE_LIMIT, check=False,
            env=example_environment(live, SERVICE_URL=line.removeprefix("listening on ")),
        )  # fmt: skip
        check("hello ada" in done.stdout, f"status {done.returncode}: {done.stdout}{done.stderr[-3000:]}")
    finally:
        service.terminate()
        try:
            wait_for(lambda: service.poll() is not None, "the example service to end")
        finally:
            service.kill()
            service.wait()
            if service.stdout is not None:
                service.stdout.close()


def print_table(table: Mapping[str, Mapping[str, str]]) -> None:
    """Print scenario x language."""
    names = list(dict.fromkeys(name for column in table.values() for name in column))
    width = max(map(len, names), default=0)
    print(f"\n{'scenario':<{width}}  " + "  ".join(f"{language:<6}" for language in table))
    for name in names:
        print(f"{name:<{width}}  " + "  ".join(f"{column.get(name, '-'):<6}" for column in table.values()))
    for language, column in table.items():
        held = sum(outcome == "ok" for outcome in column.values())
        print(f"{language}: {held} of {len(column)} held")


if __name__ == "__main__":
    sys.exit(main())
