"""All errors that this package raises on purpose, each declared once, in a module of its subject.

A class has its HTTP status and its remedy; ``docs/reference/errors.md``, with the tree of all, is
made from them.
"""

from imaged.core.errors.backends import *  # noqa: F403 - an error is named where it is declared
from imaged.core.errors.base import ImagedError as ImagedError
from imaged.core.errors.identity import *  # noqa: F403
from imaged.core.errors.images import *  # noqa: F403
from imaged.core.errors.members import *  # noqa: F403
from imaged.core.errors.notifications import *  # noqa: F403
from imaged.core.errors.requests import *  # noqa: F403
from imaged.core.errors.tasks import *  # noqa: F403
