"""`tokenmint completion`: the script by which a shell completes the command line."""

from typing import Annotated, Final, Literal

import typer

VARIABLE: Final = "_TOKENMINT_COMPLETE"
"""The variable by which a script asks this program for completions.

Every script asks in the way that the command line's library has for fish: the line up to the cursor goes in, and each
line that comes out is a completion, perhaps with a tab and its help. The scripts are our own. The library's script for
bash takes the words of bash, which end at every colon and equals sign. Its script for zsh evaluates names of the
configuration, so that one with a backslash and a dollar sign could run a command.
"""

_BASH: Final = r"""_tokenmint_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" word option= quote= replaced= value
    word="${line##*[[:space:]]}"
    if [[ $word == --*=* ]]; then  # the completions are values alone
        option="${word%%=*}="
        word="${word#*=}"
        if [[ $COMP_WORDBREAKS == *=* ]]; then option=; fi
    fi
    COMPREPLY=()
    if [[ $word == *[\"\']* ]]; then
        if [[ ${word:1} == *[\"\'\\]* ]]; then return; fi  # which quotes are open?
        quote="${word:0:1}"
    else  # bash replaces what follows the last separator, and in quotes the whole word
        if [[ $COMP_WORDBREAKS == *:* && $word == *:* ]]; then replaced="${word%"${word##*:}"}"; fi
        if [[ $COMP_WORDBREAKS == *=* && ${word#"$replaced"} == *=* ]]; then replaced="${word%"${word##*=}"}"; fi
    fi
    while IFS=$'\t' read -r value _; do
        if [[ -z $value ]]; then continue; fi
        value="${value#"$replaced"}"
        case $quote in  # bash inserts it as it is
            \') value="${value//\'/\'\\\'\'}" ;;
            \") if [[ $value == *!* ]]; then continue; fi  # nothing escapes that
                value="${value//\\/\\\\}"
                value="${value//\"/\\\"}"
                value="${value//\`/\\\`}"
                value="${value//\$/\\\$}" ;;
            *) printf -v value %q "$value" ;;
        esac
        COMPREPLY+=("$option$value")
    done < <(env _TOKENMINT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="$line" "${1/#~\//$HOME/}" 2>/dev/null)
}

complete -o default -F _tokenmint_completion tokenmint"""
_ZSH: Final = r"""#compdef tokenmint

_tokenmint_completion() {
    local line="${words[1,$CURRENT]}" value help
    local -a values shown
    while IFS=$'\t' read -r value help; do
        if [[ -z $value ]]; then continue; fi
        values+=("$value")
        shown+=("$value${help:+  -- $help}")
    done < <(env _TOKENMINT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="$line" "${words[1]/#\~\//$HOME/}" 2>/dev/null)
    if (( $#values == 0 )); then
        _files
        return
    fi
    compset -P 1 '--*='  # the completions are values alone
    compadd -l -d shown -a values
}

compdef _tokenmint_completion tokenmint"""
_FISH: Final = r"""function __tokenmint_completion
    set -l option (string match -r -- '^--[^=]+=' (commandline -ct))
    set -l found 1
    for line in (env _TOKENMINT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
            _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) tokenmint 2>/dev/null)
        if test -n "$line"
            echo -- "$option$line"  # the completions are values alone
            set found 0
        end
    end
    return $found
end

complete --command tokenmint --no-files --condition 'set -g __tokenmint_found (__tokenmint_completion)' \
    --arguments '$__tokenmint_found'"""
_SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def command(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that the script is for.")],
) -> None:
    """Print the script that completes commands, options and their values in a shell.

    bash: source <(tokenmint completion bash), in ~/.bashrc.

    zsh: source <(tokenmint completion zsh), in ~/.zshrc, after compinit.

    fish: tokenmint completion fish > ~/.config/fish/completions/tokenmint.fish
    """
    print(_SCRIPTS[shell])
