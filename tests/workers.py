"""Workers that do one thing each, in the place of the service's: `python -m tests.workers DESCRIPTOR BEAT`.

The job's ``config`` says which. The first argument of `python -m tests.workers supervise …` makes it a supervisor.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from tokenmint.process.heartbeat import Pulse, Watch
from tokenmint.process.supervisor import Job, Workers, print_ready

READY = json.dumps({"pid": 0, "listen": {}})


def serve(pulse: Pulse, behaviour: str, marks: Path) -> int:
    """Do one thing."""
    (marks / f"started-{os.getpid()}").touch()
    first = len(list(marks.glob("started-*"))) <= 2  # two are started at first

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGHUP, (marks / f"reloaded-{os.getpid()}").touch)
        if behaviour in ("never ready", "opens, never ready", "opens, then blocks") and first:
            if behaviour.startswith("opens"):
                pulse.start()
            if behaviour.endswith("blocks"):
                time.sleep(600)  # noqa: ASYNC251  # the fault itself
            await stop.wait()
        if behaviour == "slow to start":
            while not (marks / "go").exists():  # noqa: ASYNC110  # another process makes it
                await asyncio.sleep(0.02)
        pulse.say(READY)
        pulse.start()
        if behaviour == "talks":
            os.write(1, b"x" * 200_000)  # more than a pipe holds
        (marks / f"ready-{os.getpid()}").touch()
        if behaviour == "ends at once":
            raise SystemExit(3)
        if behaviour == "blocks" and first:
            time.sleep(600)  # noqa: ASYNC251  # the fault itself
        if behaviour == "blocks while it stops":
            await stop.wait()
            time.sleep(600)  # noqa: ASYNC251  # the same
        await stop.wait()

    asyncio.run(main())
    return 0


def supervise(behaviour: str, marks: str, drain: str, watch: str) -> int:
    """Run two such workers."""
    job = Job(behaviour, marks, {})
    command = (sys.executable, "-m", "tests.workers")
    return Workers(job, 2, drain=float(drain), watch=Watch(**json.loads(watch)), command=command).run(print_ready)


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        sys.exit(supervise(*sys.argv[2:]))
    given = json.load(sys.stdin)
    sys.exit(serve(Pulse(int(sys.argv[1]), float(sys.argv[2])), given["config"], Path(given["redis_url"])))
