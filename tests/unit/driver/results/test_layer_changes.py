"""What the report says about each layer, against a network of known cuts."""

import onnx.parser
import pytest

from acgraph.analysis.layers import layers
from acgraph.driver.results.layer_changes import as_ranges, layer_changes, removed_units
from acgraph.driver.state.records import FitRecord, RoundRecord
from acgraph.ir import Model
from acgraph.ir.load import load_model
from acgraph.pruning.cut_plan import AxisCut, ColumnsCut, CutPlan

ONES = {size: ", ".join(["1"] * size) for size in (12, 54)}
TEXT = f"""
<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,4,N,M] y)
<float[3,2,3,3] v = {{{ONES[54]}}}, float[4,3,1,1] w = {{{ONES[12]}}}>
{{
  [first] a = Conv <pads = [1,1,1,1]> (x, v)
  [second] y = Conv (a, w)
}}
"""


def model(text: str = TEXT) -> Model:
    return load_model(onnx.parser.parse_model(text))


def test_removed_channels_and_columns_are_columns_of_the_matrix() -> None:
    plan = CutPlan(
        axes=(
            AxisCut(tensor="v", axis=0, size=3, removed=(1,)),
            AxisCut(tensor="w", axis=1, size=3, removed=(1,)),
            AxisCut(tensor="v", axis=1, size=2, removed=(0,)),
        ),
        columns=(ColumnsCut(layer="first", shape=(2, 3, 3), removed=(9, 17)),),
    )
    found = removed_units(layers(model()), plan)
    assert (found["first"].filters, found["first"].columns) == ("1", "0-9 17")
    assert found["first"].kernel == (3, 3)
    assert (found["second"].filters, found["second"].columns) == ("", "1")


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([4], "4"), ([0, 1, 2, 5, 7, 8], "0-2 5 7-8")]
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert as_ranges(numbers) == text


def test_macs_are_those_of_both_models() -> None:
    smaller = model(TEXT.replace("float[1,2,4,4]", "float[1,2,2,2]"))
    first, second = layer_changes(model(), smaller, [], smaller, is_timed=False)
    assert first.macs == (16 * 3 * 18, 4 * 3 * 18)
    assert second.macs == (16 * 4 * 3, 4 * 4 * 3)
    assert first.latency_ms is None
    assert layer_changes(model(), smaller, [])[0].macs is None


def test_the_last_refit_of_a_layer_gives_its_errors() -> None:
    rounds = [
        RoundRecord(rate=2.0, accuracy=1.0, epochs=0.0, seconds=1.0, evaluations=1,
                    fits=(FitRecord(name="first", before=before, after=0.1),))
        for before in (0.5, 0.25)
    ]  # fmt: skip
    first, second = layer_changes(model(), model(), [], rounds=rounds)
    assert (first.fit_error, second.fit_error) == ((0.25, 0.1), None)
