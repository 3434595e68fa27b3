"""What a run did: rounds, searches and training, in ``report.json``."""

from pydantic import Field

from acgraph.report.schema_base import Part


class AdmmUpdate(Part):
    """Relative residuals of one update of ADMM; both are 0 at convergence.

    Attributes:
        primal: Distance of the weights from the nearest point that meets the constraint.
        dual: Change of that point in this update.
        rho: The penalty.
    """

    primal: float
    dual: float
    rho: float


class Round(Part):
    """One round of search, training and shrinking.

    Attributes:
        rate: The rate after the round, in the metric of the target.
        accuracy: The accuracy after the round, on the selection split.
        epochs: Epochs of training in this round.
        seconds: Duration.
        evaluations: Number of candidates that the search evaluated.
        admm: Residuals after each update of ADMM.
    """

    rate: float
    accuracy: float | None
    epochs: float
    seconds: float
    evaluations: int
    admm: list[AdmmUpdate] = Field(default_factory=list)


class FrontierPoint(Part):
    """A rate that was tried; the last one is the result after fine-tuning.

    Attributes:
        rate: The rate that was reached, in the metric of the target.
        accuracy: The accuracy on the selection split after ``epochs``.
        epochs: Epochs of training at this rate.
        within_floor: Whether the loss of accuracy is within the target's ``max_drop``.
    """

    rate: float
    accuracy: float
    epochs: float
    within_floor: bool


class SearchPoint(Part):
    """A candidate that a search evaluated.

    Attributes:
        round: Number of the round.
        score: Score of the candidate.
        best: Best score of the search so far.
        cost: Its cost divided by the budget of the search, which is 1; None if it was not recorded.
        accepted: Whether the search moved to it.
        temperature: Temperature of annealing when it was evaluated, in units of the score; 0 for
            starting points and other methods.
        chosen: Whether the round cut the network to it.
    """

    round: int
    score: float
    best: float
    cost: float | None = None
    accepted: bool = False
    temperature: float = 0.0
    chosen: bool = False


class TrainingPass(Part):
    """One pass over the training data, or the part of it that was left.

    Attributes:
        stage: What trained, for example ``round 1: ADMM`` or ``fine-tune``.
        epoch: Passes of this stage that are done, fractional at its end.
        loss: Mean loss of the pass; None if it is not finite.
        learning_rate: Learning rate of its last step.
        seconds: Seconds of training of this stage so far.
    """

    stage: str
    epoch: float
    loss: float | None
    learning_rate: float
    seconds: float
