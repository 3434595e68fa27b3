import json
import math

import pytest

from acgraph.report import LatencyMs, Report, Side, rates_between


def test_json_has_exactly_the_names_of_the_contract(report):
    data = json.loads(report.to_json())
    assert data["schema"] == 1
    assert set(data) >= {
        *("schema", "model", "target", "before", "after", "rate", "verify", "layers", "fences"),
        *("rounds", "seed", "versions", "seconds", "measure", "tasks"),
    }
    assert set(data["target"]) == {"metric", "rate", "met", "max_drop", "drop_met"}
    sides = {"params", "macs", "bytes", "latency_ms", "speed_up", "accuracy", "macs_unknown",
             "outputs"}  # fmt: skip
    assert set(data["before"]) == set(data["after"]) == sides
    assert set(data["before"]["latency_ms"]) == {"p50", "p90"}
    assert set(data["rate"]) == {"params", "macs", "bytes", "latency"}
    assert set(data["verify"]) >= {"max_abs_error", "max_rel_error", "passed"}
    layer = {"name", "op_type", "filters", "columns", "lowering", "latency_ms", "macs", "removed",
             "forms", "fit_error"}  # fmt: skip
    assert all(set(entry) == layer for entry in data["layers"])
    assert data["layers"][0]["filters"] == [16, 16]
    assert set(data["fences"][0]) == {"node", "reason", "share"}
    assert set(data["rounds"][0]) == {
        *("rate", "accuracy", "epochs", "seconds", "evaluations", "admm")
    }


def test_json_reads_back(report):
    assert Report.model_validate_json(report.to_json()) == report


def test_json_is_strict_where_numbers_are_not_finite(report):
    broken = report.model_copy(
        update={"verify": report.verify.model_copy(update={"max_abs_error": math.inf})}
    )
    text = broken.to_json()
    assert json.loads(text)["verify"]["max_abs_error"] is None
    assert "Infinity" not in text
    assert Report.model_validate_json(text).verify.max_abs_error is None


def test_rates_divide_before_by_after():
    before = Side(params=100, macs=60, bytes=50, latency_ms=LatencyMs(p50=3.0, p90=4.0))
    after = Side(params=25, macs=0, bytes=100, latency_ms=LatencyMs(p50=2.0, p90=9.0))
    rates = rates_between(before, after)
    assert (rates.params, rates.macs, rates.bytes, rates.latency) == (4.0, None, 0.5, 1.5)
    assert rates_between(before, after.model_copy(update={"latency_ms": None})).latency is None


def test_latencies_that_were_measured_by_pairs_are_compared_so():
    sides = [
        Side(params=1, macs=1, bytes=1, latency_ms=LatencyMs(p50=p50, p90=9.0), speed_up=speed_up)
        for p50, speed_up in ((3.0, 1.0), (1.0, 2.0), (1.0, 2.5))
    ]
    assert rates_between(sides[0], sides[1]).latency == 2.0
    assert rates_between(sides[1], sides[2]).latency == 1.25


@pytest.mark.parametrize(
    ("target", "verify", "code"),
    [
        ({}, {}, 0),
        ({"met": False}, {}, 3),
        ({"drop_met": False}, {}, 3),
        ({}, {"passed": False}, 1),
        ({"met": False}, {"passed": False}, 1),
    ],
)
def test_exit_code(report, target, verify, code):
    changed = report.model_copy(
        update={
            "target": report.target.model_copy(update=target),
            "verify": report.verify.model_copy(update=verify),
        }
    )
    assert changed.exit_code == code
