"""Errors of requests that are invalid or not permitted."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class NotPermitted(ImagedError):
    """The caller's roles do not allow this."""

    http_status = 403
    remedy = "Use a token with the role, or of the project, that the sentence names."


class DataForbidden(NotPermitted):
    """Only an admin may read the data of a deactivated image."""

    remedy = "Ask an administrator why the image is deactivated."
    sentence = "The image is deactivated; only an administrator may read its data."


class InvalidRequest(ImagedError):
    """The request cannot be understood."""

    http_status = 400
    remedy = "Correct what the sentence names."


class InvalidAttribute(InvalidRequest):
    """An attribute's value is of the wrong type, too long, or not among those allowed."""

    remedy = "Correct the attribute; [schemas](schemas.md) has what is allowed."
    sentence = "The attribute {!r} {}."


class InvalidQuery(InvalidRequest):
    """A parameter of the query string is invalid."""

    remedy = "Correct the parameter; [the calls](api.md) have what is allowed."
    sentence = "The query parameter {!r} {}."


class ListTooBroad(InvalidRequest):
    """A list has to be looked for among too many images: each of its filters fits many of them, and
    all together fit few.
    """

    remedy = (
        "Add a filter that few images meet; [large catalogs](../how-to/list-large-catalogs.md) "
        "tells which. `api.list_budget` is the time that a list may take."
    )
    sentence = (
        "The list was not found within {:g} seconds of the catalog's time, because many images "
        "meet each of its filters. Add a filter that few images meet, such as {}."
    )


class InvalidInput(InvalidRequest):
    """A field of a task's input is missing, unknown or invalid."""

    remedy = "Correct the field; [tasks](tasks.md) has the input of each type."

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The field {name!r} of the task's input {why}.")
        self.name = name


class UnknownTaskType(InvalidRequest):
    """The task type does not exist, or this call cannot create it."""

    remedy = "Name one of those in [tasks](tasks.md)."
    sentence = "There is no task type {!r} to ask for; possible: {}."


class UnknownStore(InvalidRequest):
    """No store of this name is configured."""

    remedy = "Name one of `GET /v2/info/stores`, or none."
    sentence = "There is no store named {!r}."


class ReadOnlyAttribute(ImagedError):
    """Clients never set this attribute, or not in this status."""

    http_status = 403
    remedy = "Leave the attribute out; [schemas](schemas.md) says how it is set."

    def __init__(self, name: str, why: str = "is read-only") -> None:
        super().__init__(f"The attribute {name!r} {why}.")


class PropertyConflict(ImagedError):
    """A patch requires a property that does not exist, or the absence of one that exists."""

    http_status = 409
    remedy = "Show the image, and patch existing properties."
    sentence = "The property {!r} {}."


class TooMany(ImagedError):
    """An image has more tags or properties than allowed."""

    http_status = 413
    remedy = "Remove some first."
    sentence = "An image can have at most {1} {0}."


class PropertiesTooLarge(ImagedError):
    """The properties of an image have too many bytes, names and values together."""

    http_status = 413
    remedy = "Remove properties, or have the operator raise `uploads.max_properties_size`."
    sentence = (
        "The properties of an image may have {1} bytes in all, names and values "
        "together, and these have {0}. Remove some, or write less into them."
    )


class UnsatisfiableRange(ImagedError):
    """The range begins after the last byte."""

    http_status = 416
    remedy = "Ask for a range within the size, which `Content-Range` tells."

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The range is outside of the image, which has {size_bytes} bytes.")
        self.size_bytes = size_bytes
