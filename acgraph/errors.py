"""Errors that a user can act on; each carries its exit code and one line of text.

::

    AcgraphError                 exit 1
    +-- UsageError               exit 2   the command line or the configuration
    +-- ImportModelError                  a file that is not a usable ONNX model
    +-- UnsupportedOpError                an operator that a backend lacks
    +-- DataError                         data of the wrong shape, type or range
    +-- PassError                         a pass failed
    |   +-- PreconditionError
    |   +-- PostconditionError
    +-- VerifyError                       the equivalence check failed, or the IR is broken
    +-- SearchError                       no plan can meet the target
    +-- BackendError                      training or running failed
    |   +-- DivergedError                 training diverged even at reduced learning rates
    +-- OutputError                       a result cannot be written
    +-- CheckpointError                   a run that cannot be resumed from its checkpoints
    +-- InterruptedRunError      exit 130 stopped by the user, and can be resumed
"""

from typing import ClassVar

from acgraph.diagnostics import Diagnostic, Location


class AcgraphError(Exception):
    """Base of all errors that are shown as one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, location: Location | None = None, hint: str = "") -> None:
        self.diagnostic = Diagnostic(message=message, location=location or Location(), hint=hint)
        super().__init__(str(self.diagnostic))


class UsageError(AcgraphError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class ImportModelError(AcgraphError):
    """The file is not a usable ONNX model."""


class UnsupportedOpError(AcgraphError):
    """A backend has no implementation of an operator."""


class DataError(AcgraphError):
    """The data has the wrong shape, type or range."""


class PassError(AcgraphError):
    """A pass failed."""


class PreconditionError(PassError):
    """A pass was run on a model that violates its precondition."""


class PostconditionError(PassError):
    """A pass left the model in a state that violates its postcondition."""


class VerifyError(AcgraphError):
    """The equivalence check failed, or the graph is broken."""


class SearchError(AcgraphError):
    """No plan can meet the target."""


class BackendError(AcgraphError):
    """Training or running a model failed."""


class DivergedError(BackendError):
    """Training diverged even at reduced learning rates; the earlier weights were restored."""


class OutputError(AcgraphError):
    """A result cannot be written."""


class CheckpointError(AcgraphError):
    """The checkpoints of a run are damaged, or the run was started with other inputs."""


class InterruptedRunError(AcgraphError):
    """The user stopped a run that can be resumed."""

    exit_code = 130
