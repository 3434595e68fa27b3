"""Run the passes of ``compress`` by the pass manager, instrumented as in ``acgraph opt``."""

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

#: The pipelines that make a network trainable, and that make a trained one compact, in the notation
#: of ``acgraph opt -p``.
PREPARING = "untie-constants,lift-constants,insert-batchnorm"
WRITING = "fuse-batchnorm,lower-columns,eliminate-dead-nodes"
PIPELINES = (PREPARING, WRITING)


@dataclass(frozen=True, slots=True)
class PassSettings:
    """How passes are instrumented.

    Attributes:
        instruments: Called before and after each pass, and on failures.
        verify_each: Check after each pass that the model is valid and its interface is unchanged.
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
            PassError: A pass failed, or the check after it.
        """
        manager = PassManager(passes, self.instruments, verify_each=self.verify_each)
        runs = manager.run(model, context)
        self.runs.extend(runs)
        return runs

    def run_text(
        self, text: str, model: Model, context: PassContext | None = None
    ) -> list[PassRun]:
        """Run the passes that a pipeline string names."""
        return self.run(build_passes(text, REGISTRY), model, context)
