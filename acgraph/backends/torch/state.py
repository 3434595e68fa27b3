"""The state of a trainer, in a form that ``save_checkpoint`` can write."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from acgraph.backends.torch.loop import Fit
from acgraph.backends.torch.modes import Mode
from acgraph.backends.torch.setup import Setup
from acgraph.diagnostics import Location
from acgraph.errors import BackendError


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a trainer without its weights.

    Attributes:
        mode: Precision, layout and threads; None if they were not chosen yet.
        micro_batch: Size of micro-batches; None if batches are not split.
        fits: Number of completed fits.
        fit: State of the running fit, or None.
    """

    mode: Mode | None
    micro_batch: int | None
    fits: int
    fit: Mapping[str, Any] | None


def pack(module: nn.Module, seed: int, setup: Setup, fits: int, fit: Fit | None) -> dict[str, Any]:
    """Return the state of a trainer.

    It needs no state of random generators, which are seeded by the seed, the fit and the step.

    Args:
        module: The network that is trained.
        seed: Seed of the trainer.
        setup: Mode and micro-batch size.
        fits: Number of completed fits.
        fit: The running fit, or None.
    """
    mode = setup.chosen
    return {
        "seed": seed,
        "module": {k: v.detach().cpu().clone() for k, v in module.state_dict().items()},
        "mode": None if mode is None else [mode.precision, mode.channels_last, mode.threads],
        "micro_batch": setup.micro_batch.size,
        "fits": fits,
        "fit": None if fit is None else fit.state_dict(),
    }


def unpack(state: Mapping[str, Any], module: nn.Module, seed: int, source: str) -> Progress:
    """Load the weights of a state into a module and return the rest.

    Args:
        state: A state from :func:`pack`.
        module: The module that receives the weights.
        seed: Seed of the trainer.
        source: Name of its model, for messages.

    Raises:
        BackendError: The state belongs to another model or another seed.
    """
    if state["seed"] != seed:
        raise BackendError(
            f"the checkpoint has seed {state['seed']}, not {seed}",
            hint="resume with the seed of the interrupted run",
        )
    try:
        module.load_state_dict(state["module"])
    except RuntimeError as error:
        raise BackendError(
            "the checkpoint belongs to another model",
            location=Location(model=source),
            hint="resume with the model of the interrupted run",
        ) from error
    mode = None
    if state["mode"] is not None:
        precision, channels_last, threads = state["mode"]
        mode = Mode(precision=precision, channels_last=channels_last, threads=threads)
    return Progress(
        mode=mode,
        # Absent in states of older versions, which did not split batches.
        micro_batch=state.get("micro_batch"),
        fits=state["fits"],
        fit=state["fit"],
    )
