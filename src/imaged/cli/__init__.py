"""The command line: ``imaged serve``, and the other commands of operators and users.

A command is imported when it is called, and imports its libraries when it needs them. So
``imaged --help`` is quick; a test checks the modules that it imports.

Exit codes: 0, done; 1, failed, or there are problems; 2, wrong command line; 78, a service cannot
start until its configuration is corrected; 130, interrupted.
``imaged doctor`` has codes of its own, in its help.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

import click

from imaged.cli.examples import add_examples

EXIT_PROBLEMS = 1
EXIT_MISCONFIGURED = 78  # EX_CONFIG of sysexits(3): the units do not start it again
EXIT_INTERRUPTED = 130

#: What commands are for; each command with its purpose. Its module has its name, or is in
#: SHARED_MODULES.
COMMAND_GROUPS: Mapping[str, Mapping[str, str]] = {
    "Run the service": {
        "serve": "Answer requests and run the background jobs, until a signal.",
        "scrub": "Delete what is due: as a service, once, or as a dry run.",
        "work": "Work on tasks, as a service of its own.",
    },
    "Images": {
        "push": "Upload a file as an image.",
        "pull": "Download an image into a file.",
        "ls": "List images.",
        "show": "Show an image.",
        "set": "Change attributes of an image.",
        "rm": "Delete images.",
        "pending": "List the deleted images that can still be restored.",
        "restore": "Restore a deleted image, with everything that it had.",
        "purge": "Scrub a deleted image now.",
    },
    "Servers that you use": {
        "login": "Remember a server, and your token for it.",
        "profiles": "List the remembered servers.",
        "logout": "Forget a server and its token.",
    },
    "See what is going on": {
        "status": "Show the instances, their work, and what waits.",
        "tasks": "List tasks, show one, or cancel it.",
        "doctor": "Check everything that a daemon needs, and say what to do.",
        "reconcile": "Compare catalog and stores, and list the differences.",
        "version": "Print the version.",
    },
    "Set up": {
        "config": "Print the effective settings, and where each comes from.",
        "check-config": "Report all mistakes in the configuration.",
        "backup": "Back up the catalog, the configuration and its keys.",
        "restore-backup": "Check a backup, and put it back.",
        "migrate": "Migrate the catalog to this version.",
        "adopt-store": "Adopt a folder or bucket for this catalog.",
        "quota": "Show, or set, what projects may use.",
        "token": "Create a token, and its entry for the token file.",
        "completion": "Print the completion script for a shell.",
    },
}
COMMANDS: Mapping[str, str] = {
    name: purpose for group in COMMAND_GROUPS.values() for name, purpose in group.items()
}

#: The modules of commands that share one with another command.
SHARED_MODULES: Mapping[str, str] = {
    "check_config": "config",
    "adopt_store": "migrate",
    "push": "push_pull",
    "pull": "push_pull",
    "restore": "pending",
    "purge": "pending",
    "restore_backup": "backup",
    "work": "serve",
    **dict.fromkeys(("profiles", "logout"), "login"),
    **dict.fromkeys(("ls", "show", "set", "rm"), "images"),
}


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
        command: click.Command = getattr(module, "set_" if name == "set" else name)
        add_examples(cmd_name, command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The called command. Raises NoSuchCommand, with names that are like the wrong one."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=COMMANDS, ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands by what they are for, without importing them."""
        width = max(map(len, COMMANDS))
        for title, commands in COMMAND_GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    package_name="imaged", message="imaged %(version)s", help="Print the version, and exit."
)
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
