import io
import logging

import pytest
from rich.console import Console

from acgraph.cli.console import ProgressBar, StageLines, progress_sink, set_up_log


def drive(sink):
    sink.start(4, "round 1: ADMM")
    for step in range(1, 5):
        sink.update(step, 1.0 / step, 1234.0)
    sink.finish()
    sink.finish()


def test_a_file_gets_one_line_a_stage():
    console = Console(file=io.StringIO(), width=20)
    sink = progress_sink(console)
    assert isinstance(sink, StageLines)
    drive(sink)
    drive(sink)
    line = "round 1: ADMM: 4 steps, loss 0.2500, 1,234 images/s\n"
    assert console.file.getvalue() == 2 * line


def test_a_terminal_gets_a_bar_with_loss_speed_and_time_left():
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    sink = progress_sink(console)
    assert isinstance(sink, ProgressBar)
    drive(sink)
    text = console.file.getvalue()
    for part in ("round 1: ADMM", "4/4", "loss 0.2500", "1,234 images/s", "0:00:00"):
        assert part in text


def test_updates_outside_of_a_stage_are_harmless():
    console = Console(file=io.StringIO())
    for sink in (StageLines(console), ProgressBar(console)):
        sink.update(1, 0.0, 0.0)
        sink.finish()
    assert console.file.getvalue() == ""


@pytest.mark.parametrize(
    ("verbosity", "level"),
    [(-1, logging.ERROR), (0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG)],
)
def test_verbosity_sets_the_level_once(verbosity, level):
    logger = logging.getLogger("acgraph")
    set_up_log(verbosity)
    set_up_log(verbosity)
    assert logger.level == level
    assert len(logger.handlers) == 1


@pytest.mark.parametrize(
    ("verbosity", "line"),
    [(0, "warning: 1 went\n"), (1, "WARNING acgraph.some.module: 1 went\n")],
)
def test_only_verbose_lines_name_modules(verbosity, line, capsys):
    set_up_log(verbosity)
    logging.getLogger("acgraph.some.module").warning("%d went", 1)
    assert capsys.readouterr().err == line


def test_a_stage_without_steps_prints_nothing():
    console = Console(file=io.StringIO())
    sink = StageLines(console)
    sink.start(0, "fine-tune")
    sink.finish()
    assert console.file.getvalue() == ""
