"""How the passes of a run are run: by the pass manager, and watched as in ``acgraph opt``."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from acgraph.ir import Model
from acgraph.passes import REGISTRY
from acgraph.passmanager import (
    Instrument,
    Pass,
    PassContext,
    PassManager,
    PassRun,
    build_passes,
)

#: What makes a network trainable, and what makes a trained one small, as ``acgraph opt -p`` takes
#: them.
PREPARING = "untie-constants,lift-constants,insert-batchnorm"
WRITING = "fuse-batchnorm,lower-columns,eliminate-dead-nodes"
PIPELINES = (PREPARING, WRITING)


@dataclass(frozen=True, slots=True)
class PassSettings:
    """How passes are watched.

    Attributes:
        instruments: Told before and after each pass, and of failures.
        verify_each: Check after each pass that the model is whole and looks the same from outside.
        runs: Every pass that ran, in order.
    """

    instruments: Sequence[Instrument] = ()
    verify_each: bool = False
    runs: list[PassRun] = field(default_factory=list)

    def run(
        self, passes: Sequence[Pass], model: Model, context: PassContext | None = None
    ) -> list[PassRun]:
        """Run passes on a model, in place.

        Raises:
            PassError: a pass failed, or the check after it.
        """
        manager = PassManager(passes, self.instruments, verify_each=self.verify_each)
        runs = manager.run(model, context)
        self.runs.extend(runs)
        return runs

    def run_text(
        self, text: str, model: Model, context: PassContext | None = None
    ) -> list[PassRun]:
        """Run the passes that pipeline text names."""
        return self.run(build_passes(text, REGISTRY), model, context)
