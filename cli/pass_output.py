"""The output of graph passes, for ``opt`` and ``compress``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.driver.passes import PassSettings
    from acgraph.passmanager import Instrument, PassRun


def instruments(
    passes: Sequence[str], print_ir_after: str | None, dump_dir: Path | None = None
) -> "list[Instrument]":
    """Make the instruments of passes.

    Args:
        passes: Names of the passes.
        print_ir_after: When to print the model: after the pass with this name, or ``all``,
            ``change`` or ``failure``; None never prints it.
        dump_dir: Folder for the model and the pipeline of a failed pass; None writes none.

    Raises:
        UsageError: No pass has this name.
    """
    from acgraph.passmanager import PrintIr, Reproducer

    watched: list[Instrument] = []
    if print_ir_after is not None:
        known = {"all", "change", "failure", *passes}
        if print_ir_after not in known:
            raise UsageError(
                f"--print-ir-after: the pipeline has no pass '{print_ir_after}'",
                hint=f"use one of {', '.join(sorted(known))}",
            )
        watched.append(PrintIr(print_ir_after, _to_stderr))
    if dump_dir is not None:
        watched.append(Reproducer(dump_dir, _to_stderr))
    return watched


def _to_stderr(text: str) -> None:
    typer.echo(text, err=True, nl=False)


def report_passes(runs: "Sequence[PassRun]", *, statistics: bool, times: bool) -> None:
    """Print the remarks, the statistics and the times of passes on standard error."""
    for run in runs:
        for remark in run.result.remarks:
            typer.echo(f"remark: {run.name}: {remark}", err=True)
    if statistics:
        for run in runs:
            for what, count in run.result.statistics.items():
                typer.echo(f"{count:>8}  {run.name}: {what}", err=True)
    if times:
        total = sum(run.seconds for run in runs)
        for run in runs:
            share = 100 * run.seconds / total if total else 0.0
            typer.echo(f"{run.seconds:>9.4f} s  {share:5.1f} %  {run.text}", err=True)
        typer.echo(f"{total:>9.4f} s  100.0 %  total", err=True)


@dataclass(frozen=True, slots=True)
class PassOutput:
    """The output of the passes of ``compress``, and their checks.

    Attributes:
        print_ir_after: When to print the network, as for :func:`instruments`.
        times: Whether to print times.
        verify_each: Whether to check the network after each pass.
    """

    print_ir_after: str | None = None
    times: bool = False
    verify_each: bool = False

    def settings(self) -> "PassSettings":
        """Return the settings of the passes.

        Raises:
            UsageError: No pass of ``compress`` has this name.
        """
        from acgraph.driver.passes import PIPELINES, PassSettings

        names = [name for text in PIPELINES for name in text.split(",")]
        return PassSettings(instruments(names, self.print_ir_after), self.verify_each)
