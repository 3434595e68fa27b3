from collections.abc import Callable

import numpy as np

from acgraph.analysis.dependency import analyse
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.space.space import Space
from acgraph.driver.stages.dead import aligned
from acgraph.ir import read_model
from acgraph.models.demo import model_path
from acgraph.search import Knob


def test_every_family_keeps_a_multiple_or_all() -> None:
    model = read_model(model_path())
    space = Space(dependency=analyse(model), weights=model.constants(), columns=False, align=12)
    for knob in space.knobs:
        assert knob.size % 12  # the families of the demo are no multiples
        allowed = {knob.snap(kept) for kept in range(1, knob.size + 1)}
        assert {kept % 12 for kept in allowed - {knob.size}} <= {0}
        assert (len(allowed) > 1) == (knob.size > 12)


def test_dead_units_come_back_where_the_step_would_break() -> None:
    knob = Knob(name="k", kind="filters", size=16, step=4)
    gone = np.arange(16) < 6
    scores = np.arange(16, dtype=np.float64)
    assert np.flatnonzero(aligned(gone, scores, knob)).tolist() == [0, 1, 2, 3]
    everything = np.ones(16, bool)
    assert np.flatnonzero(~aligned(everything, scores, knob)).tolist() == [12, 13, 14, 15]


def test_written_filters_are_multiples(configure: Callable[..., CompressConfig]) -> None:
    report = compress(configure(target_rate="1.5x", align=4, columns={"enabled": False}))
    cut = [layer.filters for layer in report.layers if layer.filters[0] != layer.filters[1]]
    assert cut
    assert {after % 4 for _, after in cut} == {0}
