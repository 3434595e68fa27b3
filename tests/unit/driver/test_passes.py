"""The passes of ``compress`` are those that it publishes, run by the pass manager."""

from collections.abc import Callable

import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.passes import PIPELINES, PREPARING, WRITING, PassSettings
from acgraph.errors import PassError, PreconditionError
from acgraph.ir import read_model
from acgraph.models.demo import model_path
from acgraph.passes import REGISTRY
from acgraph.passes.lower_columns import LowerColumns
from acgraph.passmanager import PassManager, PrintIr, build_passes

Configure = Callable[..., CompressConfig]


def test_every_published_pass_can_be_named() -> None:
    for text in PIPELINES:
        assert [one.name for one in build_passes(text, REGISTRY)] == text.split(",")


def test_a_run_is_watched_as_a_pipeline_is(configure: Configure) -> None:
    seen: list[str] = []
    passes = PassSettings([PrintIr("fuse-batchnorm", seen.append)], verify_each=True)
    options = {"target_rate": "1.5x", "columns": {"enabled": False}, "epochs": 0}
    report = compress(configure("purify=false", **options), passes=passes)
    assert report.verify.passed
    names = [run.name for run in passes.runs]
    assert names == [*PREPARING.split(","), *WRITING.split(",")]
    inserted = next(run for run in passes.runs if run.name == "insert-batchnorm").result
    folded = next(run for run in passes.runs if run.name == "fuse-batchnorm").result
    assert inserted.statistics["inserted"] == folded.statistics["folded"] > 0
    (text,) = seen
    assert "Conv" in text
    assert "BatchNormalization (" not in text


def test_a_pass_that_breaks_the_network_is_named(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acgraph.passes.lift_constants import LiftConstants

    def breaks(self: LiftConstants, model: object, context: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(LiftConstants, "run", breaks)
    with pytest.raises(PassError, match="pass 'lift-constants' after untie-constants failed"):
        compress(configure(epochs=0))


def test_statistics_need_data() -> None:
    model = read_model(model_path())  # its BatchNormalization is folded
    with pytest.raises(PreconditionError, match="needs data to measure the channel statistics"):
        PassManager(build_passes("insert-batchnorm", REGISTRY)).run(model)


def test_what_only_code_can_set_is_no_option() -> None:
    from acgraph.driver.cost.compact import LowerLayers
    from acgraph.passmanager.pipeline import pass_text

    assert pass_text(LowerLayers()) == pass_text(LowerColumns()) == "lower-columns"
