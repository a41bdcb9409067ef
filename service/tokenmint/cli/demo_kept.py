"""`tokenmint demo --keep`: leaves the servers of the demo running, so that the other commands can be tried on them."""

import shlex
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

from tokenmint.model.secret import Secret
from tokenmint.process.new_secrets import write_private

RENEWED: Final = 60.0  # seconds between two ID tokens; each is valid for five minutes

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)

COMMANDS: Final = """\
An operator's commands, in another terminal:

  export TOKENMINT_TARGET={admin} TOKENMINT_CLIENT_ID=root TOKENMINT_SECRET_FILE={root}
  tokenmint keys list
  tokenmint profiles list
  tokenmint token explain --client web --audience {audience} --token-file {token}
  tokenmint audit tail

A client's:

  export TOKENMINT_TARGET={grpc} TOKENMINT_CLIENT_ID=web TOKENMINT_SECRET_FILE={web}
  tokenmint token exchange --audience {audience} --token-file {token}

Ctrl-C ends the demo and removes its files.
"""


def keep(
    console: Console,
    folder: Path,
    listen: Mapping[str, str],
    secrets: Mapping[str, Secret],
    audience: str,
    id_token: Callable[[], str],
) -> None:
    """Print commands to try, and renew the ID token that they use, from ``id_token``. Never returns."""
    files = {name: folder / f"{name}.secret" for name in secrets}
    for name, file in files.items():
        write_private(file, secrets[name].reveal() + "\n")
    token = folder / "id-token.txt"
    _write(token, id_token())
    names = {name: shlex.quote(str(file)) for name, file in files.items()} | {"token": shlex.quote(str(token))}
    text = COMMANDS.format(admin=listen["admin"], grpc=listen["grpc"], audience=audience, **names)
    console.print("\n" + text, highlight=False, markup=False, soft_wrap=True)
    while True:
        time.sleep(RENEWED)
        _write(token, id_token())


def end_on_signals() -> None:
    """End as on Ctrl-C when the process is asked to end or its terminal is closed: the servers would go on without it.

    The exit code is 128 and the signal's number, as shells report it.
    """

    def ending(number: int, _: object) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)  # the servers are being stopped
        raise SystemExit(128 + number)

    for one in _SIGNALS:
        signal.signal(one, ending)


def _write(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text + "\n")
    new.replace(file)  # a command reads the old one or the new one, and never a part
