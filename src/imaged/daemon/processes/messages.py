"""What a daemon and its child processes tell each other.

The daemon sends pickled objects, above all its configuration, so that a child reads no file again.
A child replies in JSON, because it processes untrusted bytes: the daemon must not unpickle its
messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import msgspec

from imaged.config import Config
from imaged.core.claim import InstanceId
from imaged.core.image_schema import DEFAULT_SCHEMA, ImageSchema
from imaged.metrics.child_counters import ChildSample


@dataclass(frozen=True, slots=True)
class Start:
    """Start to work as a part of an instance. ``holder``: the name of this child's claims."""

    config: Config
    holder: InstanceId
    rules: Mapping[str, str] = field(default_factory=dict)  # in place of default rules
    schema: ImageSchema = DEFAULT_SCHEMA
    slot: int = 0  # which one of the processes that answer, from 1 on
    runs_brief_tasks: bool = False  # beside requests, as soon as they are accepted


@dataclass(frozen=True, slots=True)
class Reload:
    """Apply the reloadable settings of this configuration, these rules, and this schema."""

    config: Config
    rules: Mapping[str, str] = field(default_factory=dict)
    schema: ImageSchema = DEFAULT_SCHEMA


@dataclass(frozen=True, slots=True)
class DaemonState:
    """What only the daemon knows and ``/readyz`` tells."""

    is_reload_rejected: bool = False
    degraded_parts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MetricsWritten:
    """The page of metrics that a child asked for by this number."""

    number: int
    body: bytes
    media_type: str


class Command(Enum):
    """Instructions without arguments."""

    CHECK_TASKS = auto()  # a task was accepted, or cancelled
    REPORT = auto()  # send a report now
    DRAIN = auto()  # start no new tasks, accept no connections; end when all is answered
    STOP_NOW = auto()  # cancel what is in flight


Instruction = Start | Reload | DaemonState | MetricsWritten | Command


class Activity(msgspec.Struct, frozen=True):
    """What a process that answers does now, and what it did since its start."""

    requests_in_flight: int = 0
    uploads_in_flight: int = 0
    downloads_in_flight: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    answered: int = 0  # requests
    failed: int = 0  # of them, with a status of 5xx
    refused: int = 0  # likewise, with 401 or 403


class Report(msgspec.Struct, tag="report"):
    """The running tasks of a child, and its counts since it started."""

    running: Sequence[str] = ()  # ids of tasks
    counts: Sequence[ChildSample] = ()
    activity: Activity = Activity()
    failing_part_seconds: Mapping[str, float] = {}
    troubles: Sequence[str] = ()  # sentences for operators


class Ready(msgspec.Struct, tag="ready"):
    """The child accepts connections."""


class Reloaded(msgspec.Struct, tag="reloaded"):
    """The child has applied a new configuration, or found that it cannot."""


class TasksChanged(msgspec.Struct, tag="tasks"):
    """A task was accepted, or cancelled."""


class MetricsWanted(msgspec.Struct, tag="metrics"):
    """A client asks for the metrics of the instance. ``accept``: its header."""

    number: int
    accept: str


class ChildFailure(msgspec.Struct, tag="trouble"):
    """Why the child cannot work."""

    message: str


ChildMessage = Report | Ready | Reloaded | TasksChanged | MetricsWanted | ChildFailure

decode_message = msgspec.json.Decoder(ChildMessage).decode


def kind_of(instruction: Instruction) -> object:
    """What a later instruction of the same kind replaces while it waits."""
    match instruction:
        case Command():
            return instruction
        case MetricsWritten():
            return instruction.number
        case _:
            return type(instruction)
