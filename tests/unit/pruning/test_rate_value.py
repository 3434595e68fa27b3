import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgraph.errors import UsageError
from acgraph.pruning.rate import Rate, format_rate


@pytest.mark.parametrize(
    ("text", "value"),
    [("30x", 30.0), ("30", 30.0), ("2.5x", 2.5), (" 4X ", 4.0), ("1", 1.0), ("1e3x", 1000.0)],
)
def test_parse_reads_numbers_with_and_without_x(text: str, value: float) -> None:
    assert Rate.parse(text).value == value


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("0.5x", "at least 1"),
        ("-2x", "at least 1"),
        ("0", "at least 1"),
        ("abc", "not a rate"),
        ("", "not a rate"),
        ("x", "not a rate"),
        ("3xx", "not a rate"),
        ("nan", "not a rate"),
        ("infx", "not a rate"),
        ("1_0x", "not a rate"),
        ("30%", "not a rate"),
        ("1e9x", "above the limit"),
        ("1e999x", "finite"),
    ],
)
def test_parse_refuses_the_rest_in_one_line(text: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        Rate.parse(text)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.99, 2e6])
def test_construction_is_checked_too(value: float) -> None:
    with pytest.raises(UsageError):
        Rate(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30.0, "30x"),
        (2.5, "2.5x"),
        (1.0, "1x"),
        (100.0, "100x"),
        (8.3333, "8.33x"),
        (8.3399, "8.33x"),
        (7.9999, "7.99x"),
        (1e6, "1000000x"),
    ],
)
def test_prints_as_people_say_it(value: float, text: str) -> None:
    assert str(Rate(value)) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.94, "0.94x"),
        (0.999, "0.99x"),
        (0.9999999, "0.99x"),
        (1.999, "1.99x"),
        (30.09, "30x"),
        (0.0123, "0.012x"),
        (0.00999, "0.0099x"),
        (2.3, "2.3x"),
        (0.29, "0.29x"),
    ],
)
def test_rounding_never_flatters(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_what_is_printed_is_at_most_the_rate_and_near_it(rate: float) -> None:
    shown = float(format_rate(rate).removesuffix("x"))
    assert 0.89 * rate <= shown <= rate * (1 + 1e-6)


@given(st.floats(min_value=0.0, max_value=0.999))
def test_sparsity_and_back(sparsity: float) -> None:
    rate = Rate.from_sparsity(sparsity)
    assert rate.sparsity == pytest.approx(sparsity, abs=1e-12)
    assert rate.kept == pytest.approx(1.0 - sparsity)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan")])
def test_sparsity_out_of_range_is_refused(sparsity: float) -> None:
    with pytest.raises(UsageError, match="removed share"):
        Rate.from_sparsity(sparsity)


def test_between_divides_before_by_after() -> None:
    assert Rate.between(300, 10) == Rate(30.0)
    with pytest.raises(UsageError, match="no rate leads"):
        Rate.between(300, 0)


def test_rates_are_ordered() -> None:
    assert Rate(2.0) < Rate(30.0)
