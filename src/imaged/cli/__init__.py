"""The command line: ``imaged serve``, and the other commands of operators and users.

A command is imported when it is called, and imports its libraries when it needs them. So
``imaged --help`` is quick; a test checks the modules that it imports.

Exit codes: 0, done; 1, failed, or there are problems; 2, wrong command line; 130, interrupted.
``imaged doctor`` has codes of its own, in its help.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

import click

EXIT_PROBLEMS = 1
EXIT_INTERRUPTED = 130

#: Each command with its purpose. Its module has its name, or is in SHARED_MODULES.
COMMANDS: Mapping[str, str] = {
    "serve": "Answer requests and run the background jobs, until a signal.",
    "scrub": "Delete due images and blobs: as a service, once, or as a dry run.",
    "work": "Work on tasks, as a service of its own.",
    "push": "Upload a file as an image.",
    "pull": "Download an image into a file.",
    "status": "Show the instances, their work, and what waits.",
    "tasks": "List tasks, show one, or cancel it.",
    "doctor": "Check everything that a daemon needs, and say what to do.",
    "pending": "List the deleted images that can still be restored.",
    "restore": "Restore a deleted image, with everything that it had.",
    "reconcile": "Compare catalog and stores, and list the differences.",
    "quota": "Show, or set, how many bytes a project may hold.",
    "token": "Create a token, and its entry for the token file.",
    "check-config": "Report all mistakes in the configuration.",
    "migrate": "Migrate the catalog to this version.",
    "adopt-store": "Adopt a folder or bucket for this catalog.",
    "completion": "Print the completion script for a shell.",
    "version": "Print the version.",
}

#: The modules of commands that share one with another command.
SHARED_MODULES: Mapping[str, str] = {"restore": "pending", "work": "serve"}


class Commands(click.Group):
    """Loads the commands of the table above on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The command names, in the order of the table."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command; None if it does not exist."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"imaged.cli.{SHARED_MODULES.get(name, name)}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def imaged() -> None:
    """Store disk images, and serve them by the OpenStack Image API v2."""


def main() -> None:
    """Run a command; print an expected error as plain lines or JSON, and exit with its code."""
    from imaged.cli.output import is_expected_error, print_error, wants_json

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
