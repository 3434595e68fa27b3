import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from acgraph.analysis.cost import model_cost
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.cost import compact as compact_module
from acgraph.driver.cost.compact import Limit, compact
from acgraph.driver.network import Network
from acgraph.driver.space.space import Space
from acgraph.driver.stages.target import written_cost
from acgraph.ir import Facts, Model, proto_from_model, read_model
from acgraph.lowering.base import Candidate
from acgraph.lowering.cost_model import CostModelChooser
from acgraph.models.demo import model_path
from acgraph.passes.lower_columns import LoweredLayer, lower_columns
from acgraph.pruning.shrink import shrink


@pytest.mark.parametrize(
    ("metric", "rate", "pattern"),
    [("size", 2.0, "free"), ("params", 3.0, "free"), ("macs", 2.5, "auto")],
)
def test_target_is_met_and_hardly_overshot(
    configure: Callable[..., CompressConfig], metric: str, rate: float, pattern: str
) -> None:
    """What is dead without its columns goes, too, and counts."""
    config = configure(target_rate=f"{rate}x", metric=metric, columns={"pattern": pattern})
    report = compress(config)
    written = config.output / "model.onnx"
    before, after = model_cost(read_model(model_path())), model_cost(read_model(written))
    found = {
        "size": model_path().stat().st_size / written.stat().st_size,
        "params": before.params / after.params,
        "macs": before.macs / after.macs,
    }[metric]
    assert report.target.met
    assert rate <= found < 1.04 * rate


class _Dense:
    """Finds every lowering slow."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        return next(c for c in candidates if c.form == "dense")


def test_a_warning_names_the_first_layers_only(space: Space) -> None:
    point = tuple(k.snap(0.4 * k.size) if k.kind == "columns" else k.size for k in space.knobs)
    shrunk = shrink(space.dependency, space.plan(point, space.weights)).model
    said: list[str] = []
    compact(shrunk, _Dense(), limit=Limit("params", 1), warn=said.append)
    (line,) = [text for text in said if "smallest form" in text]
    start = r"the params target needs the smallest form of (\d+) layers, "
    start += "which is not the fastest form: "
    found = re.fullmatch(start + r"\S+, \S+ and (\d+) more", line)
    assert found is not None
    assert int(found[1]) == int(found[2]) + 2


def test_macs_target_is_kept_whatever_is_fast(space: Space) -> None:
    point = tuple(k.snap(0.4 * k.size) if k.kind == "columns" else k.size for k in space.knobs)
    shrunk = shrink(space.dependency, space.plan(point, space.weights)).model
    dense = model_cost(compact(shrunk, _Dense())[0]).macs
    limit = Limit("macs", model_cost(compact(shrunk, CostModelChooser())[0]).macs)
    assert limit.most < dense
    small, _ = compact(shrunk, _Dense(), limit=limit)
    assert model_cost(small).macs <= limit.most


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_macs_are_counted_in_the_form_that_the_export_takes(space: Space, metric: str) -> None:
    """Counting a smaller one would stop rounds short; params are made small at the export."""
    point = tuple(k.snap(0.4 * k.size) if k.kind == "columns" else k.size for k in space.knobs)
    shrunk = shrink(space.dependency, space.plan(point, space.weights)).model
    config = SimpleNamespace(metric=metric, purify=False)
    taken = _Dense() if metric == "macs" else Limit(metric, 0).chooser
    cost = model_cost(compact(shrunk, taken)[0])
    # What it reads of a run: a whole one would have to be trained.
    run = SimpleNamespace(config=config, chooser=_Dense())
    assert written_cost(run, Network(shrunk)) == getattr(cost, metric)  # type: ignore[arg-type]


def test_the_report_has_the_warning(
    configure: Callable[..., CompressConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acgraph.driver.opening.make_chooser", lambda *_, **__: _Dense())
    config = configure(target_rate="3x", columns={"pattern": "free"})
    report = compress(config)
    start = "he params target needs the smallest form of "  # a sentence on the page
    assert any(start in text for text in report.warnings)
    assert start in (config.output / "report.html").read_text()


def test_shapes_are_found_once_for_all_forms_that_are_tried(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = tuple(k.snap(0.4 * k.size) if k.kind == "columns" else k.size for k in space.knobs)
    shrunk = shrink(space.dependency, space.plan(point, space.weights)).model
    limit = Limit("params", int(0.8 * model_cost(shrunk).params))
    given: list[Facts | None] = []

    def anew(model: Model, *, facts: Facts | None = None, **options: Any) -> list[LoweredLayer]:
        given.append(facts)
        return lower_columns(model, **options)

    small, lowered = compact(shrunk, _Dense(), limit=limit)
    monkeypatch.setattr(compact_module, "lower_columns", anew)
    expected, lowered_anew = compact(shrunk, _Dense(), limit=limit)
    assert lowered == lowered_anew
    assert 0 < sum(layer.form != "dense" for layer in lowered) < len(lowered)
    texts = [proto_from_model(model).SerializeToString() for model in (small, expected)]
    assert texts[0] == texts[1]
    assert len(given) > 3
    assert given[0] is not None
    assert all(facts is given[1] for facts in given[1:])
