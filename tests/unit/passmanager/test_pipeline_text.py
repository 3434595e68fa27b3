from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgraph.errors import UsageError
from acgraph.passmanager import Pass, PassResult, build_passes, parse_pipeline, pipeline_text


@dataclass(frozen=True)
class Sample(Pass):
    """A pass with an option of every type."""

    name: ClassVar[str] = "sample"
    min_keep: int = 1
    share: float = 0.5
    exact: bool = False
    mode: Literal["fast", "small"] = "fast"
    sizes: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()
    limit: int | None = None

    def run(self, model, context):
        return PassResult(modified=False)


REGISTRY = {"sample": f"{__name__}:Sample", "other-pass": f"{__name__}:Sample"}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    import sys

    # With --import-mode=importlib the module of a test is not in sys.modules under its name.
    module = type(sys)(__name__)
    module.Sample = Sample
    monkeypatch.setitem(sys.modules, __name__, module)


def build(text: str) -> Sample:
    (one,) = build_passes(text, REGISTRY)
    assert isinstance(one, Sample)
    return one


def test_names_and_options_are_split():
    specs = parse_pipeline(' a-b{x=1 y_z="p,q r"} , c2 ')
    assert [(s.name, s.options, s.column) for s in specs] == [
        ("a-b", {"x": "1", "y_z": "p,q r"}, 2),
        ("c2", {}, 25),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sample", Sample()),
        ("sample{}", Sample()),
        ("sample{min-keep=8 exact=true}", Sample(min_keep=8, exact=True)),
        ("sample{min_keep=8}", Sample(min_keep=8)),
        ("sample{share=1e-3 mode=small}", Sample(share=1e-3, mode="small")),
        ("sample{sizes=1,2,3}", Sample(sizes=(1, 2, 3))),
        ('sample{layers="/a b/Conv,c"}', Sample(layers=("/a b/Conv", "c"))),
        ("sample{limit=3}", Sample(limit=3)),
        ("sample{limit=none}", Sample(limit=None)),
    ],
)
def test_values_are_read_by_type(text, expected):
    assert build(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the pipeline is empty"),
        ("sample,", "column 8: a pass name was expected, not the end"),
        ("sample sample", "column 8: ',' or the end was expected after 'sample', not 'sample'"),
        ("Sample", "column 1: a pass name was expected, not 'Sample'"),
        ("sample{min-keep=8", "column 7: this '{' is never closed"),
        ("sample{min-keep}", "column 8: 'option=value' was expected, not 'min-keep'"),
        ("sample{exact=true exact=true}", "option 'exact' is given twice"),
        ("sampel", "no pass is named 'sampel'; did you mean 'sample'?"),
        ("xyz", "no pass is named 'xyz'; known passes: other-pass, sample"),
        ("sample{min-kep=1}", "has no option 'min-kep'; did you mean 'min-keep'?"),
        ("sample{min-keep=many}", "sample{min-keep=many}: 'many' is not a whole number"),
        ("sample{share=x}", "'x' is not a number"),
        ("sample{exact=yes}", "'yes' is not one of true, false"),
        ("sample{mode=slow}", "'slow' is not one of fast, small"),
        ("sample{sizes=1,b}", "'b' is not a whole number"),
    ],
)
def test_errors_name_the_place_and_the_word(text, words):
    with pytest.raises(UsageError) as caught:
        build_passes(text, REGISTRY)
    assert words in str(caught.value)


NAMES = st.text(st.characters(codec="ascii", exclude_characters=',"{}\\', min_codepoint=32))
SAMPLES = st.builds(
    Sample,
    min_keep=st.integers(),
    share=st.floats(allow_nan=False, allow_subnormal=False),
    exact=st.booleans(),
    mode=st.sampled_from(["fast", "small"]),
    sizes=st.lists(st.integers(), min_size=1).map(tuple),
    layers=st.lists(NAMES.filter(str.strip), min_size=1).map(tuple),
    limit=st.none() | st.integers(),
)


@given(st.lists(SAMPLES, min_size=1, max_size=3))
def test_text_of_passes_reads_back(passes):
    assert build_passes(pipeline_text(passes), REGISTRY) == tuple(passes)


def test_defaults_are_left_out_of_the_text():
    assert pipeline_text([Sample(), Sample(exact=True)]) == "sample,sample{exact=true}"
