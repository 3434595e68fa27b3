"""Turn off the telemetry of ONNX Runtime.

From version 1.32 on, ONNX Runtime writes a device id and a database of events below the user's
cache folder, and sends them in runs of more than ten seconds, unless an environment variable is set
before it is first imported. It is set when ``acgraph`` is imported, and processes that acgraph
starts inherit it.
"""

import logging
import os
import sys

VARIABLE = "ORT_DISABLE_TELEMETRY"

_log = logging.getLogger(__name__)


def _set_variable() -> bool:
    """Set the variable unless the user did; return whether it was too late for that."""
    if VARIABLE in os.environ:
        return False
    os.environ[VARIABLE] = "1"
    return "onnxruntime" in sys.modules


_IS_LATE = _set_variable()


def warn_if_late() -> None:
    """Warn if ONNX Runtime was imported first, after which its telemetry cannot be turned off."""
    if _IS_LATE:
        _log.warning(
            "onnxruntime was imported before acgraph and may send usage data to its vendor: import "
            "acgraph first, or set %s=1 before the program starts",
            VARIABLE,
        )
