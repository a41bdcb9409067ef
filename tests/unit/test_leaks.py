"""Secrets stay out of what is printed by accident: errors of tasks that nobody awaits, and reprs."""

import asyncio
from pathlib import Path

import pytest
import structlog

from tokenmint.base.logs import log_loop_error
from tokenmint.config.load import load
from tokenmint.process.supervisor import Job

CANARY = "canary-4711"


async def _fails() -> None:
    try:
        raise ValueError(f"about {CANARY}")
    except ValueError as error:
        raise RuntimeError(f"again {CANARY}") from error


async def test_an_error_of_a_task_that_nobody_awaits_is_logged_without_its_text(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_error)
    with structlog.testing.capture_logs() as logged:
        task = loop.create_task(_fails())
        await asyncio.wait({task})
        del task  # asyncio tells of the exception as the task is put away
        loop.call_exception_handler({"message": f"Exception in callback f({CANARY!r})", "handle": None})
    assert [(entry["error"], entry["log_level"]) for entry in logged] == [
        ("RuntimeError", "error"),
        ("NoneType", "error"),
    ]
    assert "_fails" in str(logged[0]["where"])
    assert CANARY not in str(logged) + caplog.text + str(capsys.readouterr())


def test_a_stores_password_is_in_no_repr(tmp_path: Path) -> None:
    kek = {"TOKENMINT_KEYS__ENCRYPTION_KEY": "A" * 43}
    url = f"redis://user:{CANARY}@127.0.0.1:6379"
    settings = load(None, {"TOKENMINT_REDIS__URL": url, "TOKENMINT_REDIS__PASSWORD": CANARY, **kek})
    job = Job(str(tmp_path), url, {})
    assert settings.redis_url == job.redis_url == url
    assert CANARY not in repr(settings) + repr(job) + str(settings) + f"{job}"
