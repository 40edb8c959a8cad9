"""Makes the page of the rules, from the table below and the marks of the tests.

A test that fails without a rule is marked with it: ``@pytest.mark.rule("claims.3")``.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from references.markdown import MADE, code, table

TESTS = Path(__file__).parents[2] / "tests"
FOUND, MISSED, NOT_SIMULATED = "found", "not found", "–"

_HEAD = f"""\
# Rules, and the tests that hold them

{MADE}

For contributors who change a rule or a test. Without its rule each of these tests fails, as
[decision 4](../decisions/0004-rules-and-the-tests-that-hold-them.md) explains; the last column
tells whether four seeds of the simulation found it too (lanes are not simulated).
"""


@dataclass(frozen=True)
class Rule:
    """A sentence, and whether the simulation notices that it is broken."""

    text: str
    simulation: str = MISSED


#: By what they are rules of; a test names a rule by that and its number, from 1 on. New ones come
#: last, so that numbers stay.
RULES: Mapping[str, tuple[str, tuple[Rule, ...]]] = {
    "claims": (
        "Claims and leases",
        (
            Rule("Only the holder of the current claim changes or finishes claimed work.", FOUND),
            Rule("Giving work back names the current claim.", FOUND),
            Rule("Work whose lease ran out is taken back, by any instance.", FOUND),
            Rule("A process renews what it holds, and nothing else that bears its name.", FOUND),
            Rule("Each renewal moves the deadline of the work on.", FOUND),
            Rule("Work whose claim is not in the answer to a renewal is stopped."),
            Rule("Work that cannot be renewed stops by itself."),
            Rule("It stops before others may act."),
            Rule("Trust counts from when a claim was asked for, not from the answer."),
            Rule("A renewal without an answer does not hold up the next one."),
            Rule(
                "After a failed finish the catalog is asked before the caller is answered.", FOUND
            ),
            Rule("… also where giving back had no answer either."),
            Rule("A finish leaves its mark on the image, which outlives a delete.", FOUND),
            Rule("A begin that was refused gives nothing back."),
            Rule("A begin without an answer is given back."),
            Rule("A process that is stopped still gives back …"),
            Rule("… but with a timeout."),
            Rule("A failed upload kills its image where that is configured …"),
            Rule("… and only an upload does."),
            Rule("A failure is told with its moment."),
            Rule("The next success clears it."),
        ),
    ),
    "bytes": (
        "Bytes on their way in",
        (
            Rule("Every attempt writes under a key of its own.", FOUND),
            Rule("Bytes whose writer may still be writing are due when its lease is over."),
            Rule("A writer whose row has gone leaves a new one, doomed."),
            Rule("A body announced as too large is refused before it is read."),
            Rule("A body that is too long is stopped as it comes."),
            Rule("A body that is too short is refused."),
            Rule("The verdict on the format comes before the commit."),
            Rule("While more is awaited, no reference to a written block is kept."),
            Rule("Blocks shrink as the budget fills."),
        ),
    ),
    "ledger": (
        "The ledger",
        (
            Rule("Doomed is final: nothing refers to doomed bytes again."),
            Rule("Nothing refers to bytes without a row."),
            Rule("Nothing but their writer's image refers to unfinished bytes."),
            Rule("The holder of bytes is charged for them.", FOUND),
            Rule("Only doomed rows are put off, or leave."),
            Rule("An image without bytes is deleted at once.", FOUND),
            Rule("A deactivated image is restored as deactivated."),
            Rule("An expired image is not restored."),
            Rule("Only the delete that was seen expires."),
            Rule("Bytes that another image holds leave an expired image at once.", FOUND),
            Rule("The record of an expired image goes with its last bytes.", FOUND),
        ),
    ),
    "quotas": (
        "Quotas",
        (
            Rule("A change and its charge are one transaction.", FOUND),
            Rule("Bytes are counted from before the first one is written."),
            Rule("A body of unknown length reserves as it grows …"),
            Rule("… and exactly what it needs where there is no room ahead."),
            Rule("A project is charged for all that its images hold, are and have begun."),
            Rule("No limit is exceeded, and only growth is refused."),
            Rule("A limit of the project precedes the default."),
            Rule("An account that is wrong is corrected by counting the images."),
            Rule("A body of unknown length waits for younger ones that hold space …"),
            Rule("… and for older ones that have reserved more than they have received."),
            Rule("If there are none, it gives up what it holds."),
            Rule("Waiting for space has a timeout."),
        ),
    ),
    "tasks": (
        "Tasks",
        (
            Rule("An import begins after its staging has ended.", FOUND),
            Rule("A task is picked up while it is pending, and so by one worker."),
            Rule("Attempts are limited."),
            Rule("Staged bytes survive an attempt that was lost."),
            Rule("A worker that could not renew has not failed its task."),
            Rule("To delete an image cancels its task.", FOUND),
            Rule("A task that may not even begin ends."),
            Rule(
                "It is picked up by its id, and not another one that writes the same image.",
                NOT_SIMULATED,
            ),
            Rule("So many run at once, of all types …", NOT_SIMULATED),
            Rule("… and of one type, where it may have less.", NOT_SIMULATED),
            Rule("A task that ends makes room at once.", NOT_SIMULATED),
            Rule("A task begins at once where it was asked for.", NOT_SIMULATED),
            Rule("The owner that was served last waits for the others.", NOT_SIMULATED),
            Rule("A worker stopped in good order leaves its task uncounted …", NOT_SIMULATED),
            Rule("… and begins nothing new.", NOT_SIMULATED),
            Rule(
                "The lease of a task that writes no image is given back like others.", NOT_SIMULATED
            ),
            Rule("Cancelling ends the work of this process at once.", NOT_SIMULATED),
            Rule(
                "What is secret is not in the input that is stored, and goes at the end.",
                NOT_SIMULATED,
            ),
            Rule("A draft whose task failed is deleted.", NOT_SIMULATED),
            Rule("Progress is written now and then.", NOT_SIMULATED),
            Rule("A verification marks what it saw …", NOT_SIMULATED),
            Rule("… and a store that is down is no damage.", NOT_SIMULATED),
            Rule("Staged data that is not imported is deleted …"),
            Rule("… unless it is not what was seen any more."),
        ),
    ),
    "notifications": (
        "Notifications",
        (
            Rule("Every change that a client notices has its events."),
            Rule("A payload has the fields of Glance's, and no secret."),
            Rule("An event waits exactly if its change was committed."),
            Rule("The next event of a queue is sent when the one before was accepted."),
            Rule("An event is sent until it is accepted, or too old."),
            Rule("A request is signed by every secret."),
            Rule("A taken queue is hidden for longer than its requests can last."),
        ),
    ),
    "scrubbing": (
        "Scrubbing",
        (
            Rule("The delay is the one configured now."),
            Rule("What has been due for longest goes first."),
            Rule("So many are deleted at once as are configured."),
            Rule("What a dead scrubber had taken is due again.", FOUND),
            Rule("Bytes that will not go are put off …"),
            Rule("… for longer each time."),
            Rule("An error is told once per change."),
            Rule("Bytes of a store that is not configured are put off."),
            Rule("A catalog that fails in the middle costs the blob at hand.", FOUND),
            Rule("Records of deleted images are buried after their time …"),
            Rule("… and their ids are never used again."),
        ),
    ),
    "reconcile": (
        "Reconcile",
        (
            Rule("Strays go after a quarantine."),
            Rule("Suspiciously many strays are left to the operator."),
            Rule("A dry run dooms nothing."),
            Rule("For strays, the ledger is asked after the store."),
            Rule("For missing bytes, the ledger is looked at again."),
            Rule("A key that is known in another store is no stray."),
        ),
    ),
    "loops": (
        "Loops, downloads and lanes",
        (
            Rule("A loop survives errors that were to be expected …", FOUND),
            Rule("… and those that were not."),
            Rule("What goes wrong again and again is told once."),
            Rule("An alarm that rings during a round is not lost."),
            Rule("A download that ends early is an error."),
            Rule("Bytes of another size than recorded are not sent."),
            Rule("A download gives back what it had of the budget."),
            Rule("A lane holds so many items and no more.", NOT_SIMULATED),
            Rule("A failure in a lane surfaces.", NOT_SIMULATED),
            Rule("Leaving a lane waits for the item under way …", NOT_SIMULATED),
            Rule("… and drops the rest.", NOT_SIMULATED),
            Rule("A lane lets go of what is done.", NOT_SIMULATED),
        ),
    ),
}


def names() -> Iterator[str]:
    """What marks may name."""
    for subject, (_, rules) in RULES.items():
        yield from (f"{subject}.{number}" for number, _ in enumerate(rules, 1))


def holders() -> Mapping[str, list[str]]:
    """The names of the tests that are marked, by rules."""
    found = defaultdict[str, list[str]](list)
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "pytest.mark.rule(" not in text:
            continue
        for test in ast.walk(ast.parse(text)):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                for rule in _rules_of(test):
                    found[rule].append(test.name)
    return found


def _rules_of(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rule":
            yield from (ast.literal_eval(argument) for argument in mark.args)


def reference() -> str:
    """The page."""
    held = holders()
    text = _HEAD
    for subject, (title, rules) in RULES.items():
        rows = [
            (
                f"{subject}.{number}",
                rule.text,
                ", ".join(code(test) for test in held[f"{subject}.{number}"]),
                rule.simulation,
            )
            for number, rule in enumerate(rules, 1)
        ]
        head = ("name", "rule", "fails without it", "simulation")
        text += f"\n## {title}\n\n{table(head, rows)}"
    return text
