"""`tokenmint completion`: the script by which a shell completes the command line."""

from typing import Annotated, Final, Literal

import typer

PROGRAM: Final = "tokenmint"
VARIABLE: Final = "_TOKENMINT_COMPLETE"
"""The variable by which the script asks this program for completions."""


def command(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that the script is for.")],
) -> None:
    """Print the script that completes commands, options and their values in a shell.

    bash: source <(tokenmint completion bash), in ~/.bashrc.

    zsh: source <(tokenmint completion zsh), in ~/.zshrc, after compinit.

    fish: tokenmint completion fish > ~/.config/fish/completions/tokenmint.fish
    """
    from typer import completion

    script = completion.get_completion_script  # type: ignore[attr-defined]  # its stub does not export it
    print(script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell))
