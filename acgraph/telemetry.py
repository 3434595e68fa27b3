"""Keep ONNX Runtime from telling its vendor how it is used.

From version 1.32 on it writes an id of the device and a database of events below the user's cache
folder, and sends them in runs of more than ten seconds, unless a variable of the environment is set
before it is first imported. It is set when ``acgraph`` is imported, and processes that acgraph
starts inherit it.
"""

import logging
import os
import sys

VARIABLE = "ORT_DISABLE_TELEMETRY"

_log = logging.getLogger(__name__)


def _set_variable() -> bool:
    """Set the variable unless the user did; return whether that comes too late."""
    if VARIABLE in os.environ:
        return False
    os.environ[VARIABLE] = "1"
    return "onnxruntime" in sys.modules


_IS_LATE = _set_variable()


def warn_if_late() -> None:
    """Say where the user imported ONNX Runtime first, after which nothing keeps it silent."""
    if _IS_LATE:
        _log.warning(
            "onnxruntime was imported before acgraph and may send usage data to its vendor: import "
            "acgraph first, or set %s=1 before the program starts",
            VARIABLE,
        )
