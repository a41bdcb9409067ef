"""The answer of `/readyz`, as its parts see it."""

from starlette.testclient import TestClient

from tokenmint.base.readiness import Readiness
from tokenmint.base.telemetry import Metrics
from tokenmint.web import ops


def test_a_required_part_blocks_and_a_told_one_does_not() -> None:
    said = {"store": "", "log": ""}
    readiness = Readiness()
    readiness.require("store", lambda: said["store"])
    readiness.tell("log", lambda: said["log"])
    client = TestClient(ops.application(readiness, Metrics()))
    for store, log, status, problems, details in (
        ("", "", 200, {}, {}),
        ("", "3 lines were dropped", 200, {}, {"log": "3 lines were dropped"}),
        ("away", "", 503, {"store": "away"}, {}),
        ("away", "slow", 503, {"store": "away"}, {"log": "slow"}),
    ):
        said.update(store=store, log=log)
        answer = client.get("/readyz")
        assert answer.status_code == status
        assert answer.json() == {"ready": not problems, "problems": problems, "details": details}


def test_a_look_that_fails_is_a_problem_and_hides_no_other() -> None:
    def broken() -> str:
        raise TypeError("a secret")

    readiness = Readiness()
    readiness.require("keys", broken)
    readiness.require("store", lambda: "away")
    readiness.tell("log", broken)
    assert readiness.problems() == {"keys": "the check failed: TypeError", "store": "away"}
    assert readiness.details() == {"log": "the check failed: TypeError"}
