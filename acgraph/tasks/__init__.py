"""What outputs of a network mean, and how far they are from the original's: numpy only.

:func:`guess` says what each output means, as `OutputTask`; ``Agreement(tasks)`` takes in outputs of
a network and of the original, and gives a figure for each and one number.
"""

from acgraph.tasks.facts import ModelFacts, OutputFacts
from acgraph.tasks.guess import guess, guess_by_values
from acgraph.tasks.judge import Agreement, Result, groups
from acgraph.tasks.kinds import KINDS, Kind, OutputTask, parse_tasks
from acgraph.tasks.labelled import Correctness, check_fit
from acgraph.tasks.spread import ChannelErrors, own_scale

__all__ = [
    "KINDS", "Agreement", "ChannelErrors", "Correctness", "Kind", "ModelFacts", "OutputFacts",
    "OutputTask", "Result", "check_fit", "groups", "guess", "guess_by_values", "own_scale",
    "parse_tasks",
]  # fmt: skip
