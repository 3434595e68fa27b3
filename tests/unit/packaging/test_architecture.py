"""docs/architecture.md describes the code: every module, and the stages in their order."""

import re
from pathlib import Path

from acgraph.driver.pipeline import STAGES

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(part: str) -> list[list[str]]:
    """Read the cells of the table in a marked part of the page, without its head."""
    found = re.search(rf"<!-- {part} -->\n(.*?)<!-- /{part} -->", PAGE, re.S)
    assert found is not None
    lines = found[1].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def modules() -> dict[str, set[str]]:
    """Name the modules of every package, by its folder as it is imported."""
    found: dict[str, set[str]] = {}
    package = ROOT / "acgraph"
    folders = [package, *(path for path in package.iterdir() if path.is_symlink())]
    for folder in folders:
        for file in folder.resolve().rglob("*.py"):
            place = folder.relative_to(ROOT) / file.parent.relative_to(folder.resolve())
            if file.stem != "__init__" and not any(p.is_symlink() for p in file.parents):
                found.setdefault(f"{place}/", set()).add(file.stem)
    return found


def test_the_map_names_every_module_and_no_other() -> None:
    told = {
        place.strip("`"): set(re.findall(r"`([^`]+)`", names)) for place, *_, names in rows("map")
    }
    wanted = modules()
    assert wanted["acgraph/driver/stages/"] >= {"prepare", "measure"}
    missing = {k: sorted(v - told.get(k, set())) for k, v in wanted.items()}
    assert {k: v for k, v in missing.items() if v} == {}, "add them to docs/architecture.md"
    assert told == wanted


def test_the_stages_are_those_of_the_code() -> None:
    table = rows("stages")
    assert [name for name, *_ in table] == [stage.name for stage in STAGES]
    driver = ROOT / "acgraph" / "driver"
    for *_, places in table:
        for place in re.findall(r"`([^`]+)`", places):
            assert (driver / place).is_file(), place
