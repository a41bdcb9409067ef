"""`tokenmint serve`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from tokenmint.base.addresses import Reservations
from tokenmint.base.standard_streams import say, show
from tokenmint.config.load import load, locate
from tokenmint.config.settings import Settings
from tokenmint.process import bootstrap
from tokenmint.process.supervisor import Job, Ready, Workers, print_ready
from tokenmint.storage.embedded import EmbeddedServer

MAX_WORKERS: Final = 64


def print_ready_text(ready: Ready) -> None:
    """Print the service's addresses, for people."""
    listen = ready.listen
    show(
        f"tokenmint is ready (process {ready.pid}; SIGTERM stops it)\n"
        f"  exchanges  grpc://{listen['grpc']}\n"
        f"  operators  grpc://{listen['admin']}\n"
        f"  key set    http://{listen['http']}/.well-known/jwks.json\n"
        f"  operations http://{listen['ops']}/readyz\n"
        + (f"  console    http://{listen['console']}/\n" if "console" in listen else "")
    )


def command(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file. Default: $TOKENMINT_CONFIG, then ./tokenmint.toml.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Directory of the private store and its keys. Default: ./.tokenmint"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=MAX_WORKERS, help="Number of processes that share the ports.")] = 1,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev",
            help="Accept callers without credentials. Only on loopback, with a private store, without an https issuer, "
            "in a data directory of its own (./.tokenmint-dev).",
        ),
    ] = False,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="json: one line when ready, for scripts.")
    ] = "text",
) -> None:
    """Run the service.

    Without a configuration it keeps a private Valkey and sealed keys in ./.tokenmint, listens on loopback only, and
    makes a first operator (./.tokenmint/operator.json). `tokenmint init` writes a configuration.

    SIGTERM drains and stops. SIGHUP reloads providers, audiences, clients and operators.
    """
    if dev and data_dir is None:
        data_dir = Path(".tokenmint-dev")
    if data_dir is not None:
        os.environ["TOKENMINT_DATA_DIR"] = str(data_dir.resolve())  # the workers read it there too
    path = locate(config, os.environ)
    ports = Reservations(load(path, os.environ, development=dev, starting=True).listen.addresses())
    try:
        # Again, now that every port is known: without a configured issuer, the HTTP listener's address is the issuer.
        settings = load(path, os.environ, development=dev, listen=ports.listen, starting=True)
        status = _serve(settings, path, ports.listen, workers, output=output, dev=dev)
    finally:
        ports.close()
    raise typer.Exit(status)


def _serve(
    settings: Settings, path: Path | None, listen: dict[str, str], workers: int, *, output: str, dev: bool
) -> int:
    """Make missing files and serve on ``listen`` until the end; return the exit status."""
    announce = print_ready if output == "json" else print_ready_text
    _print(output, f"configuration {path}" if path else "no configuration: there are no providers and no clients")
    for warning in settings.warnings:
        say(f"tokenmint: warning: {warning}\n")
    store = None if settings.redis_url else EmbeddedServer(settings.data_dir)  # looks for its program
    bootstrap.mark_directory(settings.data_dir, development=dev)
    for file in bootstrap.prepare(settings, os.urandom):
        _print(output, f"made {file} (readable only by you: keep it)")
    try:
        url = store.start() if store is not None else None
        if store is not None:
            store.keep(lambda text: say(f"tokenmint: {text}\n"))
            _print(output, f"data is kept in {settings.data_dir}, with a private store (process {store.pid})")
        job = Job(str(path) if path else None, url, listen, development=dev)
        return _work(job, workers, announce, settings)
    finally:
        if store is not None:
            store.stop()


def _print(output: str, text: str) -> None:
    if output == "text":
        show(f"tokenmint: {text}\n")


def _work(job: Job, workers: int, announce: Callable[[Ready], None], settings: Settings) -> int:
    if not settings.audiences:
        say("tokenmint: no audiences are configured, so nothing is minted: `tokenmint init` writes an example\n")
    if workers == 1:
        from tokenmint.process import worker  # loads the whole service, which a supervisor does not need

        return worker.run(job, announce)
    limits = settings.limits
    return Workers(job, workers, drain=limits.lame_duck + limits.drain).run(announce)
