"""Makes the section on notifications that Glance sends otherwise, or that are not sent."""

from __future__ import annotations

from references.markdown import table

_GLANCE_DIFFERS = (
    (
        (
            "A failed `image.upload` has a text as payload, in which the id of the image is not a "
            "field."
        ),
        "It has the payload of the image, and `message`.",
    ),
    (
        "A download that the client breaks off is not told.",
        "It is, with the bytes that were sent and the priority `ERROR`.",
    ),
    (
        "A task that has not ended `expires_at` the time of the event.",
        "`null`.",
    ),
    (
        "`task.run` follows the end of the task, with the status `pending`.",
        "It comes with `task.processing`.",
    ),
    (
        "`os_glance_importing_to_stores` names the stores of an import.",
        "It is empty: there is one store, in `backend`.",
    ),
    (
        "The `image.prepare` of an import is sent by its task.",
        "It is sent when the import is requested.",
    ),
    (
        "An answer of a member that is the same as before is `image.member.update` again.",
        "Nothing changes, and nothing is sent.",
    ),
    (
        "An expired task is removed without an event.",
        "`task.delete`.",
    ),
    (
        "No image can be restored.",
        "A restored image sends `image.activate` and `image.update`.",
    ),
    (
        "Notifications that the bus does not take are lost.",
        "They wait.",
    ),
)

_DIFFERENCES = """\
## What differs from Glance

{differences}
Not sent are the 17 events of metadata definitions, because imaged has none yet:
`metadef_namespace` (`create`, `update`, `delete`, `delete_objects`, `delete_properties`,
`delete_tags`), `metadef_object`, `metadef_property` and `metadef_tag` (`create`, `update`,
`delete`), `metadef_resource_type` (`create`, `delete`).
"""


def differences() -> str:
    """The section."""
    return _DIFFERENCES.format(differences=table(("Glance 33", "imaged"), _GLANCE_DIFFERS))
