"""The task of each output of a network, and metrics that compare outputs with the original's.

:func:`guess` derives an :class:`OutputTask` for each output. :class:`Agreement` compares a network
with the original, :class:`Correctness` with labels. Uses NumPy only.
"""

from acgraph.tasks.agreement import Agreement, Result, groups
from acgraph.tasks.facts import ModelFacts, OutputFacts
from acgraph.tasks.guess import guess, guess_by_values
from acgraph.tasks.kinds import KINDS, Kind, OutputTask, learns_no_labels, parse_tasks
from acgraph.tasks.labelled import Correctness, check_fit
from acgraph.tasks.spread import ChannelErrors, own_scale

__all__ = [
    "KINDS", "Agreement", "ChannelErrors", "Correctness", "Kind", "ModelFacts", "OutputFacts",
    "OutputTask", "Result", "check_fit", "groups", "guess", "guess_by_values",
    "learns_no_labels", "own_scale", "parse_tasks",
]  # fmt: skip
