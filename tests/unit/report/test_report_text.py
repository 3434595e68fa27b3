import io

import pytest
from rich.console import Console

from acgraph.report import Fence, FrontierPoint, rates_between, render_page, render_summary, verdict
from acgraph.report.summary import rows
from acgraph.report.verdict import format_bytes, format_rate, verdict_level
from acgraph.report.web import format_duration


def printed(report) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    console.print(render_summary(report))
    return console.file.getvalue().splitlines()


def change(report, **parts):
    updates = {name: getattr(report, name).model_copy(update=new) for name, new in parts.items()}
    return report.model_copy(update=updates)


def test_first_line_is_the_verdict(report):
    line = printed(report)[0].rstrip()
    assert line == verdict(report)
    assert line.startswith("target met: 8.07x fewer params (asked for 8x)")
    assert "accuracy -0.67 points (within the allowed drop of 1)" in line
    assert line.endswith("3.39x faster")


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        (0.9258, "0 points"),
        (0.9258 - 1e-15, "0 points"),
        (0.92579, "-0.001 points"),
        (0.92581, "+0.001 points"),
        (0.9257, "-0.01 points"),
    ],
)
def test_no_drop_is_no_negative_zero(report, after, shown):
    same = change(report, after={"accuracy": after}, target={"max_drop": 0.0})
    assert f"accuracy {shown} (within the allowed drop of 0)" in verdict(same)
    assert f" {shown}" in "\n".join(printed(same)[1:])
    assert f">{shown}<" in render_page(same)
    assert "-0.00 " not in verdict(same) + "\n".join(printed(same)) + render_page(same)


def test_missed_target_and_missed_floor_are_said(report):
    text = verdict(change(report, target={"met": False, "drop_met": False}))
    assert text.startswith("target missed")
    assert "exceeds the allowed drop" in text


def test_the_verdict_is_one_line_in_a_narrow_console(report):
    file = io.StringIO()
    Console(file=file, width=40).print(render_summary(report), crop=False)
    assert file.getvalue().splitlines()[0] == verdict(report)


def test_a_missed_floor_is_said_first(report):
    text = verdict(change(report, target={"met": True, "drop_met": False}))
    assert text.startswith("target met, allowed drop exceeded: ")


def test_agreement_is_never_called_accuracy(report):
    unlabelled = report.model_copy(update={"measure": "agreement"})
    text = "\n".join(printed(unlabelled))
    assert "91.91 % agreement with the original (within the allowed drop of 1)" in text
    row = next(line for line in printed(unlabelled)[1:] if "92.58 %" in line)
    assert row.startswith("agreement with the original")
    page = render_page(unlabelled)
    assert "agreement with the original" in page
    assert "no labels" in page
    assert "Agreement after each round" in page
    assert "ccuracy" not in text + page
    assert "no labels" not in render_page(report)
    assert "agreement" not in "\n".join(printed(report)) + render_page(report)


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.019])
def test_no_speed_up_is_called_not_faster(report, speed):
    slow = change(report, rate={"latency": speed})
    assert "not faster" in verdict(slow)
    assert "not faster" not in verdict(report)


def test_a_failed_check_comes_first(report):
    failed = change(report, verify={"passed": False})
    assert verdict(failed).startswith("the equivalence check FAILED")
    assert any(line.endswith("FAILED") for line in printed(failed))


def test_a_rate_of_unknown_macs_is_no_number(report):
    names = tuple(f"/if_{i}" for i in range(7))
    before, after = (
        s.model_copy(update={"macs_unknown": names}) for s in (report.before, report.after)
    )
    assert rates_between(before, report.after).macs is None
    assert rates_between(report.before, after).macs is None
    bounded = change(
        report, before={"macs_unknown": names}, target={"metric": "macs", "met": False},
        rate={"macs": None},
    )  # fmt: skip
    assert verdict(bounded).startswith("target missed: unknown rate of MACs (asked for 8x)")
    row = next(line for line in printed(bounded)[1:] if line.startswith("MACs"))
    assert row.split() == ["MACs", "at", "least", "40,551,040", "6,120,300", "unknown"]
    said = "the MACs of /if_0, /if_1, /if_2, /if_3, /if_4 and 2 more are unknown"
    assert said in printed(bounded)
    assert said[1:] in render_page(bounded)
    assert "unknown" not in "\n".join(printed(report)) + render_page(report)


def test_a_check_that_could_not_fail_shows_nothing(report):
    vacuous = change(report, verify={"vacuous": True})
    assert verdict(vacuous).startswith(
        "the equivalence check is INCONCLUSIVE: no output depends on the inputs"
    )
    assert any(
        line.rstrip().endswith("no output depends on the inputs") for line in printed(vacuous)[2:]
    )
    page = render_page(vacuous)
    assert "The check is inconclusive" in page
    assert '<h1 class="bad">' in page
    assert '<h1 class="good">' in render_page(report)


def test_notes_on_the_check_are_told_everywhere(report):
    notes = (
        "not compared on batch 2: the masked model cannot run it",
        "output 'b' does not depend",
    )
    noted = change(report, verify={"notes": notes})
    assert verdict(noted).endswith(f"the equivalence check is incomplete ({notes[0]} and 1 more)")
    assert "equivalence check" not in verdict(report)
    for note in notes:
        assert any(note in line for line in printed(noted)[1:])
        assert note[1:].replace("'", "&#39;") in render_page(noted)


def test_an_error_that_no_number_says_is_unbounded(report):
    unbounded = change(report, verify={"max_abs_error": None, "passed": False})
    assert any("largest error unbounded absolute" in line for line in printed(unbounded))
    assert "unbounded absolute" in render_page(unbounded)


def test_latency_target_speaks_of_latency(report):
    text = verdict(change(report, target={"metric": "latency", "rate": 3.0}))
    assert text.startswith("target met: 3.39x faster (asked for 3x)")
    assert text.count("faster") == 1


def test_size_target_speaks_of_bytes(report):
    text = verdict(change(report, target={"metric": "size"}))
    assert text.startswith("target met: 7.22x fewer bytes")


def test_table_has_each_cost_before_and_after(report):
    lines = {line.split()[0]: line.split()[1:] for line in printed(report)[2:8] if line.strip()}
    assert lines["params"] == ["269,722", "33,402", "8.07x"]
    assert lines["latency,"] == ["phone", "2.41", "ms", "0.71", "ms", "3.39x"]
    assert lines["accuracy"] == ["92.58", "%", "91.91", "%", "-0.67", "points"]


def test_what_was_not_measured_is_left_out(report):
    unmeasured = change(
        report,
        before={"latency_ms": None, "accuracy": None},
        after={"latency_ms": None, "accuracy": None},
        rate={"latency": None},
    )
    text = "\n".join(printed(unmeasured))
    assert "latency" not in text
    assert "accuracy" not in text
    assert "faster" not in text


def test_fences_are_listed_with_reasons(report):
    assert any("/fc/Gemm: its output is an output" in line for line in printed(report))


def test_names_cannot_command_the_terminal(report):
    fence = report.fences[0].model_copy(update={"node": "a\x1b[2Jb"})
    assert "  a\\x1b[2Jb: its output is an output of the model" in printed(
        report.model_copy(update={"fences": (fence,)})
    )


def test_numbers_are_printed_short():
    assert [format_rate(r) for r in (30.0, 2.5, 7.999, 1.0)] == ["30x", "2.5x", "7.99x", "1x"]
    assert [format_bytes(b) for b in (12, 1500, 2_340_000, 3e9)] == [
        *("12 B", "1.5 kB", "2.34 MB", "3 GB")
    ]
    assert [format_duration(s) for s in (0.42, 95, 59.6, 4000)] == [
        *("0.4 s", "1 min 35 s", "60 s", "1 h 6 min")
    ]


def test_warnings_are_shown(report):
    warned = report.model_copy(update={"warnings": ("a rate of 1000x is <b>out of reach</b>",)})
    assert "warning: a rate of 1000x is <b>out of reach</b>" in "\n".join(printed(warned))
    assert "A rate of 1000x is &lt;b&gt;out of reach" in render_page(warned)


TRIED = (
    FrontierPoint(rate=4.02, accuracy=0.921, epochs=0.5, within_floor=True),
    FrontierPoint(rate=8.1, accuracy=0.897, epochs=1.0, within_floor=False),
)


def test_without_a_rate_the_most_within_the_floor_was_asked_for(report):
    climbed = change(report, target={"rate": None})
    assert "fewer params (asked for the highest rate within --max-drop), accuracy" in verdict(
        climbed
    )


@pytest.mark.parametrize(
    ("target", "is_told"),
    [({"rate": None}, True), ({"drop_met": False}, True), ({"met": False}, True), ({}, False)],
)
def test_rates_tried_are_told_where_the_reader_must_choose(report, target, is_told):
    text = printed(change(report, target=target).model_copy(update={"frontier": TRIED}))
    told = [line.strip() for line in text if "on the selection split after" in line]
    lines = [
        "4.02x: accuracy 92.10 % on the selection split after 0.5 epochs, within --max-drop",
        "8.1x: accuracy 89.70 % on the selection split after 1 epoch, exceeds --max-drop",
    ]
    assert told == (lines if is_told else [])


def test_a_rate_of_latency_is_explained_where_there_is_one(report):
    footnote = "median over pairs of adjacent runs"
    paired = change(report, after={"speed_up": 3.4})
    assert footnote in " ".join(printed(paired))
    assert footnote in render_page(paired)
    untimed = change(paired, rate={"latency": None})
    for other in (untimed, report):  # the rate of the second is the quotient of its medians
        assert footnote not in " ".join(printed(other))
        assert footnote not in render_page(other)


def test_rates_tried_are_on_the_page_in_any_case(report):
    page = render_page(report.model_copy(update={"frontier": TRIED}))
    assert "Rates tried" in page
    assert "92.10 %" in page
    assert "the form that is written is chosen later" in page
    assert "the rate of the written file is at the top" in page
    assert "last line is the result" not in page
    assert "Rates tried" not in render_page(report)


def test_a_drop_is_judged_only_where_a_floor_was_asked(report):
    def judged(max_drop, drop_met):
        target = {"max_drop": max_drop, "drop_met": drop_met}
        return [r.is_good for r in rows(change(report, target=target)) if r.label == "accuracy"]

    assert judged(1.0, True) == [True]
    assert judged(0.5, False) == [False]
    assert judged(None, True) == [None]


def test_the_time_of_a_server_is_named(report):
    assert any(line.startswith("latency, phone ") for line in printed(report))
    server = report.model_copy(update={"runtime": "ort"})
    assert any(line.startswith("latency, x86 server ") for line in printed(server))


def test_one_fence_is_one(report):
    fence = report.fences[:1] or (Fence(node="n", reason="why"),)
    lines = printed(report.model_copy(update={"fences": fence}))
    assert any(line.startswith("1 fence (not cut)") for line in lines)


@pytest.mark.parametrize(
    ("drop", "max_drop", "drop_met", "level"),
    [
        (0.9, None, True, "good"),
        (1.0, None, True, "warn"),
        (4.9, None, True, "warn"),
        (5.0, None, True, "bad"),
        (19.76, None, True, "bad"),
        (-3.0, None, True, "good"),
        (4.0, 10.0, True, "good"),
        (4.0, 2.0, False, "bad"),
    ],
)
def test_the_verdict_is_as_bad_as_the_worst_of_its_parts(report, drop, max_drop, drop_met, level):
    accuracy = report.before.accuracy - drop / 100
    changed = report.model_copy(
        update={
            "after": report.after.model_copy(update={"accuracy": accuracy}),
            "target": report.target.model_copy(update={"max_drop": max_drop, "drop_met": drop_met}),
        }
    )
    assert verdict_level(changed) == level
    assert f'<h1 class="{level}">' in render_page(changed)
    style = {"good": "green", "warn": "yellow", "bad": "red"}[level]
    assert str(render_summary(changed).renderables[0].style) == f"bold {style}"


def test_a_slower_network_is_a_warning(report):
    slower = report.rate.model_copy(update={"latency": 0.8})
    assert verdict_level(report.model_copy(update={"rate": slower})) == "warn"
    noise = report.rate.model_copy(update={"latency": 0.99})
    assert verdict_level(report.model_copy(update={"rate": noise})) == "good"
