"""Commands as they are typed, with a service that they reach."""

from pathlib import Path
from typing import Any

import typer
from tests.issuer import Issuer
from tests.process import CLIENT, OPERATOR, Service
from typer.testing import CliRunner

from tokenmint.cli import app, run


class Terminal:
    """Commands as somebody types them, with the environment of an operator or a client."""

    def __init__(self, service: Service, issuer: Issuer, directory: Path) -> None:
        self.service = service
        self.issuer = issuer
        self.directory = directory
        for name, secret in (("root", OPERATOR), ("web", CLIENT)):
            (directory / name).write_text(secret.reveal() + "\n")

    def __call__(self, *arguments: str, stdin: str = "", who: str = "root", **environ: str) -> tuple[int, str, str]:
        listener = "grpc" if who == "web" else "admin"
        env: dict[str, str | None] = {
            "TOKENMINT_TARGET": self.service.listen[listener],
            "TOKENMINT_CLIENT_ID": who,
            "TOKENMINT_SECRET_FILE": str(self.directory / who),
            "COLUMNS": "200",
            **environ,
        }
        result = CliRunner().invoke(_guarded(arguments), [], input=stdin, env=env)
        return result.exit_code, result.stdout, result.stderr


def _guarded(arguments: tuple[str, ...]) -> Any:
    """The whole command line, with what turns mistakes into lines."""
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command()
    def invoke() -> None:
        raise typer.Exit(run(lambda: app(list(arguments))))

    return wrapper
