"""Every benchmark that writes into a page names one that has a place for its results."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = sorted(
    path for path in (ROOT / "benchmarks").glob("*.py") if "--doc docs/" in path.read_text("utf-8")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_page_has_the_place(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    (page,) = re.findall(r"--doc (docs/\w+\.md)", text)
    names = re.findall(r'rewrite\([\w.]+, "(\w+)"', text)
    assert names
    held = (ROOT / page).read_text(encoding="utf-8")
    for name in names:
        assert held.count(f"<!-- results:{name} -->") == 1, f"{page}: {name}"
        assert held.count(f"<!-- /results:{name} -->") == 1, f"{page}: {name}"


def test_there_are_such_scripts() -> None:
    assert {"aa.py", "arm.py", "rivals.py"} <= {path.name for path in SCRIPTS}
