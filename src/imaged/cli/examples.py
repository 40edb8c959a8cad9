"""Two examples of each command, for its help and its manual page."""

from __future__ import annotations

from collections.abc import Mapping

import click

IMAGE = "1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d"
TASK = "0f3a7c1e-5d2b-4f7a-9c48-6b1de20a9f53"

#: For each command, calls with what they do.
EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "serve": {
        "imaged serve --config imaged.toml": "in this terminal, until Ctrl-C",
        "imaged serve --json 2>> imaged.log": "with a log for programs",
    },
    "scrub": {
        "imaged scrub --dry-run": "what would be deleted now",
        "imaged scrub --once": "delete it, and exit: for a timer",
    },
    "work": {
        "imaged work": "on tasks, with the configuration in /etc/imaged",
        "imaged work --config tasks.toml": "with another one",
    },
    "push": {
        "imaged push debian-12.qcow2 --name debian-12": "print its id",
        "xz -dc disk.raw.xz | imaged push - --disk-format raw": "what a pipe holds",
    },
    "pull": {
        f"imaged pull {IMAGE}": "into a file with its name",
        f"imaged pull {IMAGE} -o /srv/disk.raw --force": "over a file",
    },
    "ls": {
        "imaged ls --status active": "with sizes and ages",
        "imaged ls --tag base --json": "for programs",
    },
    "show": {
        "imaged show debian-12": "by a name that only one image has",
        f"imaged show {IMAGE} --json": "for programs",
    },
    "set": {
        "imaged set debian-12 --name debian-12.1 --tag base": "its name, and one more tag",
        "imaged set debian-12 -p os_distro=debian --unset old": "properties",
    },
    "rm": {
        f"imaged rm {IMAGE}": "by its id",
        "imaged rm debian-11 debian-12": "several, or none if one is not found",
    },
    "pending": {
        "imaged pending": "with the time that is left",
        "imaged pending --json": "for programs",
    },
    "restore": {
        f"imaged restore {IMAGE}": "an image of `imaged pending`",
        "imaged restore debian-12": "by its name, if no other one of them has it",
    },
    "purge": {
        f"imaged purge {IMAGE}": "an image of `imaged pending`, after a question",
        f"imaged purge {IMAGE} --yes": "without the question",
    },
    "login": {
        "imaged login https://images.example.net": "it asks for the token",
        "imaged login unix:/run/imaged/api.sock --profile here": "with a name of your choice",
        "imaged login --auth-url https://k.example.net --username ann --project-id ID": (
            "sign in to Keystone; it asks for the password"
        ),
        "imaged login": "sign in as the variables OS_AUTH_URL … of a file openrc say",
    },
    "profiles": {
        "imaged profiles": "and which one commands use",
        "imaged profiles --default here": "use another one",
    },
    "logout": {
        "imaged logout": "the one that commands use",
        "imaged logout images.example.net": "another one",
    },
    "status": {
        "imaged status": "once",
        "imaged status --watch 5s": "until Ctrl-C",
    },
    "tasks": {
        "imaged tasks list --status failure": "what failed",
        f"imaged tasks show {TASK}": "how far one is, and why it failed",
    },
    "tasks list": {
        "imaged tasks list --status processing --watch 2s": "with bars",
        "imaged tasks list --type import --owner web --limit 10": "of one project",
    },
    "tasks show": {
        f"imaged tasks show {TASK}": "once",
        f"imaged tasks show {TASK} --json": "for programs",
    },
    "tasks cancel": {
        f"imaged tasks cancel {TASK}": "end it at its next step",
        f"imaged tasks cancel {TASK} --json": "for programs",
    },
    "doctor": {
        "imaged doctor": "findings, each with what to do",
        "imaged doctor --json": "for monitoring; the exit code tells how bad it is",
    },
    "reconcile": {
        "imaged reconcile": "list what differs, and change nothing",
        "imaged reconcile --apply --max-delete 20": "doom up to 20 blobs without an image",
    },
    "version": {
        "imaged version": "as --version prints it",
        "imaged version --json": "with the version of Python",
    },
    "config": {
        "imaged config --no-defaults": "what is set, in which file and line",
        "imaged config scrubber.delay --json": "one setting, for programs",
    },
    "check-config": {
        "imaged check-config": "before a reload",
        "imaged check-config --config new.toml": "before it is put in place",
    },
    "backup": {
        "imaged backup /srv/backups --keep 14": "for a timer",
        "imaged backup /srv/backups --with-bytes": "with the bytes of stores in folders",
    },
    "restore-backup": {
        "imaged restore-backup /srv/backups/2026-11-30T02-00-00Z --check": "is it whole?",
        "imaged restore-backup /srv/backups/2026-11-30T02-00-00Z": "on a new machine",
    },
    "migrate": {
        "imaged migrate": "before the new version is started",
        "imaged migrate --contract": "after the last instance has it",
        "imaged migrate --from sqlite:////var/lib/imaged/catalog.db": "into PostgreSQL",
    },
    "adopt-store": {
        "imaged adopt-store local": "a store, after a catalog was restored",
        "imaged adopt-store backups --kind exports": "a destination of exports",
    },
    "quota": {
        "imaged quota web": "what the project uses, and its limits",
        "imaged quota web --total 500GiB --images 100": "set limits",
        "imaged quota --full": "which projects have reached a limit",
    },
    "token": {
        "imaged token --user ann --project web": "for a member",
        "imaged token --user audit --project web --role reader >> tokens.toml": "that only lists",
    },
    "completion": {
        "imaged completion bash > /etc/bash_completion.d/imaged": "for all users",
        "imaged completion fish > ~/.config/fish/completions/imaged.fish": "for you",
    },
}


def add_examples(name: str, command: click.Command) -> None:
    """Show the examples of a command, and of its subcommands, below their help."""
    command.epilog = _text(EXAMPLES[name])
    for below, subcommand in getattr(command, "commands", {}).items():
        add_examples(f"{name} {below}", subcommand)


def _text(examples: Mapping[str, str]) -> str:
    lines = [f"  {call}\n      {purpose}" for call, purpose in examples.items()]
    return "\n".join(["\b", "Examples:", *lines])
