"""All that training needs to go on, as a state that ``save_checkpoint`` can write."""

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
    """How far a trainer is.

    Attributes:
        mode: Precision, layout and threads; None before one was chosen.
        micro_batch: Images at once; None for whole batches.
        fits: Fits that are done.
        fit: State of the fit under way, or None.
    """

    mode: Mode | None
    micro_batch: int | None
    fits: int
    fit: Mapping[str, Any] | None


def pack(module: nn.Module, seed: int, setup: Setup, fits: int, fit: Fit | None) -> dict[str, Any]:
    """Make a state. Random numbers are functions of the seed, the fit and the step."""
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
        state: What :func:`pack` made.
        module: Gets the weights.
        seed: Of the trainer.
        source: Name of its model, for messages.

    Raises:
        BackendError: it belongs to another model or another seed.
    """
    if state["seed"] != seed:
        raise BackendError(
            f"the checkpoint has seed {state['seed']}, not {seed}",
            hint="resume with the seed that it was started with",
        )
    try:
        module.load_state_dict(state["module"])
    except RuntimeError as error:
        raise BackendError(
            "the checkpoint is of another model",
            location=Location(model=source),
            hint="resume with the model that it was started with",
        ) from error
    mode = None
    if state["mode"] is not None:
        precision, channels_last, threads = state["mode"]
        mode = Mode(precision=precision, channels_last=channels_last, threads=threads)
    return Progress(
        mode=mode,
        # States of versions that ran whole batches do not say so.
        micro_batch=state.get("micro_batch"),
        fits=state["fits"],
        fit=state["fit"],
    )
