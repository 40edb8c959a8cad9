"""The command line: ``imaged serve``, and what operators and users do beside it.

Commands are imported when they are called, and what they need when they need it: so
``imaged --help`` is quick, and a test looks at the modules that it imports.

Exit codes: 0, it is done; 1, it failed, or there is something to mend; 2, the command line cannot
be understood; 130, it was interrupted. ``imaged doctor`` has codes of its own, in its help.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

import click

EXIT_PROBLEMS = 1
EXIT_INTERRUPTED = 130

#: What each command is for. Its module has its name.
COMMANDS: Mapping[str, str] = {
    "serve": "Answer requests and do the daemon's duties, until a signal ends it.",
    "scrub": "Delete what is due: as a service, once, or only say what would go.",
    "work": "Work on tasks, as a service beside those that answer.",
    "push": "Upload a file as an image.",
    "pull": "Download an image into a file.",
    "status": "Show the instances, what each works on, and what waits.",
    "tasks": "List tasks, show one, or cancel it.",
    "doctor": "Look at all that a daemon needs, and say what to do.",
    "pending": "List the deleted images that can still be restored.",
    "restore": "Take back a deleted image, with everything that it had.",
    "reconcile": "Compare catalog and stores; say what one has and the other not.",
    "quota": "Show, or set, how many bytes a project may hold.",
    "token": "Make a token, and its entry for the file of tokens.",
    "check-config": "Say everything that is wrong with the configuration.",
    "migrate": "Bring the catalog to this version.",
    "adopt-store": "Take a folder or bucket over for this catalog, on purpose.",
    "completion": "Print what makes a shell complete these commands.",
    "version": "Say which version this is.",
}


class Commands(click.Group):
    """Finds commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command; None where there is no such one."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"imaged.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def imaged() -> None:
    """Keep disk images, and speak the OpenStack Image API v2."""


def main() -> None:
    """Run a command. What goes wrong becomes a few plain lines, or JSON, and an exit code."""
    from imaged.cli.errors import is_expected_error, print_error, wants_json

    try:
        code = imaged.main(standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if not is_expected_error(error):
            raise
        print_error(error, as_json=wants_json(sys.argv[1:]))
        sys.exit(getattr(error, "exit_code", EXIT_PROBLEMS))
    sys.exit(code if isinstance(code, int) else 0)
