"""Run passes in order, and check the model and the result of each pass."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from acgraph.errors import AcgraphError, PassError, PostconditionError
from acgraph.ir import Model
from acgraph.ir.check import Interface, check_interface, check_model, fingerprint, interface
from acgraph.passmanager.base import Pass, PassContext, PassResult
from acgraph.passmanager.instruments import Instrument
from acgraph.passmanager.pipeline import pass_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassRun:
    """A completed pass: its pipeline text, its name, its result and its duration in seconds."""

    text: str
    name: str
    result: PassResult
    seconds: float


@dataclass(frozen=True, slots=True)
class PassManager:
    """Run a pipeline on a model, in place.

    Attributes:
        passes: The passes in execution order.
        instruments: Observers of each pass and of failures.
        verify_each: Check before the first and after each pass that the model is valid and that its
            inputs and outputs are unchanged.
        check_claims: Also hash the model before and after each pass, and reject a wrong
            ``modified``.
    """

    passes: Sequence[Pass]
    instruments: Sequence[Instrument] = ()
    verify_each: bool = True
    check_claims: bool = False

    def run(self, model: Model, context: PassContext | None = None) -> list[PassRun]:
        """Run every pass.

        Raises:
            PassError: A pass failed; the message names the passes before it.
            VerifyError: The model was invalid before the first pass.
        """
        context = context or PassContext()
        expected = self._checked_interface(model)
        runs: list[PassRun] = []
        for one in self.passes:
            for instrument in self.instruments:
                instrument.before_pass(one, model)
            try:
                run = self._run_one(one, model, context, expected)
            except Exception as error:
                for instrument in self.instruments:
                    instrument.on_failure(one, model)
                raise _wrapped(error, one, [r.name for r in runs]) from error
            logger.info("%s: %s", run.text, _result_text(run.result))
            runs.append(run)
            for instrument in self.instruments:
                instrument.after_pass(one, model, run.result, run.seconds)
        return runs

    def _checked_interface(self, model: Model) -> Interface | None:
        """Check the model and return its interface; None without ``verify_each``."""
        if not self.verify_each:
            return None
        check_model(model)
        return interface(model)

    def _run_one(
        self, one: Pass, model: Model, context: PassContext, expected: Interface | None
    ) -> PassRun:
        before = fingerprint(model) if self.check_claims else ""
        started = time.perf_counter()
        one.requires(model, context)
        result = one.run(model, context)
        seconds = time.perf_counter() - started
        one.ensures(model, context)
        if expected is not None:
            check_model(model)
            check_interface(model, expected)
        if self.check_claims:
            _check_claim(result.modified, before != fingerprint(model), model)
        return PassRun(text=pass_text(one), name=one.name, result=result, seconds=seconds)


def _check_claim(claimed: bool, changed: bool, model: Model) -> None:
    if claimed != changed:
        did = "changed" if changed else "did not change"
        raise PostconditionError(
            f"it returned modified={claimed}, but the model {did}", location=model.location()
        )


def _wrapped(error: Exception, one: Pass, before: list[str]) -> AcgraphError:
    after = f" after {', '.join(before)}" if before else ""
    prefix = f"pass '{one.name}'{after} failed"
    if not isinstance(error, AcgraphError):
        return PassError(f"{prefix}: {type(error).__name__}: {error}")
    inner = error.diagnostic
    kind = type(error) if isinstance(error, PassError) else PassError
    return kind(f"{prefix}: {inner.message}", location=inner.location, hint=inner.hint)


def _result_text(result: PassResult) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in result.statistics.items() if count)
    return counts or ("modified" if result.modified else "nothing to do")
