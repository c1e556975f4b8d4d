"""``dwray completion``: the shell script that completes dwray's commands, options, sweeps and runs."""

import click
from click.shell_completion import get_completion_class

from dwray.cli.options import EPILOG

VARIABLE = "_DWRAY_COMPLETE"
"""The environment variable through which the script asks; click derives it from the program's name."""

BASH_ADDS = "COMPREPLY+=($value)"
"""How click's script for bash offers a word: as if it had no blanks."""
BASH_QUOTES = r"""[[ ${COMP_WORDS[COMP_CWORD]} == [\'\"]* ]] || printf -v value %q "$value"
            [[ $value == *= ]] && compopt -o nospace
            COMPREPLY+=("$value")"""
"""The same of a trial's name, which has blanks, and of a setting, which goes on behind its =."""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes dwray in SHELL.

    \b
    bash: eval "$(dwray completion bash)"            in ~/.bashrc
    zsh:  eval "$(dwray completion zsh)"             in ~/.zshrc
    fish: dwray completion fish > ~/.config/fish/completions/dwray.fish
    """  # noqa: D301 - \b is click's mark of lines to leave as they are
    kind = get_completion_class(shell)
    assert kind
    script = kind(context.find_root().command, {}, "dwray", VARIABLE).source()
    click.echo(script.replace(BASH_ADDS, BASH_QUOTES))
