"""The package as others get it: what it is called, what it holds, and what imports what."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
TOP_LEVEL = ("passes", "cli", "models")
MAX_LINES = 400

#: Who alone may import what; scripts that nothing imports are named with it.
IMPORTERS = {
    "onnx": ("acgraph.ir",),
    "torch": ("acgraph.backends.torch", "acgraph.models.train_demo"),
    "onnxruntime": ("acgraph.backends.ort",),
}


def folder_of(package: str) -> Path:
    folder = SETUPTOOLS["package-dir"].get(package)
    return ROOT / (folder or package.replace(".", "/"))


def modules() -> dict[str, Path]:
    """Name of every module of the package -> its file, each once."""
    found = {}
    for top in ("acgraph", *TOP_LEVEL):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if top == "acgraph" and parts[1] in TOP_LEVEL:
                continue  # the symlinks
            name = ".".join(parts if top == "acgraph" else ("acgraph", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def is_inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_the_list_of_packages_equals_the_tree():
    tree = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(SETUPTOOLS["packages"]) == tree
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_symlinks_lead_where_package_dir_says():
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert (ROOT / package.replace(".", "/")).resolve() == (ROOT / folder).resolve()


def test_data_files_exist():
    for package, patterns in SETUPTOOLS["package-data"].items():
        for pattern in patterns:
            assert list(folder_of(package).glob(pattern)), f"{package}: {pattern}"


@pytest.mark.parametrize("library", sorted(IMPORTERS))
def test_a_library_has_one_importer(library):
    users = {
        name
        for name, path in MODULES.items()
        if any(is_inside(one, (library,)) for one in imports(path))
    }
    assert users
    assert all(is_inside(name, IMPORTERS[library]) for name in users), users


def test_scripts_are_imported_by_nobody():
    scripts = ("acgraph.models.train_demo", "acgraph.models.embed_demo")
    for name, path in MODULES.items():
        assert name in scripts or not imports(path) & set(scripts)


def test_lower_layers_do_not_import_upper_ones():
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    layers = [
        tuple(part.strip() for part in line.replace(":", "|").split("|"))
        for line in contract["layers"]
    ]
    known = {name: rank for rank, names in enumerate(layers) for name in names}

    def rank(module: str) -> int | None:
        return next((r for name, r in known.items() if is_inside(module, (name,))), None)

    exempt = [
        tuple(end.strip().removesuffix(".**") for end in line.split("->"))
        for line in contract.get("ignore_imports", [])
    ]

    assert rank("acgraph.cli.main") < rank("acgraph.api")
    assert rank("acgraph.lowering") > rank("acgraph.passes")
    assert rank("acgraph.lowering") < rank("acgraph.pruning")
    for name, path in MODULES.items():
        mine = rank(name)
        assert mine is not None or name == "acgraph", f"{name} is in no layer"
        for target in imports(path):
            theirs = rank(target)
            if any(name == source and is_inside(target, (end,)) for source, end in exempt):
                continue
            if mine is not None and theirs is not None:
                assert theirs >= mine, f"{name} imports {target}, which is above it"


def test_the_architecture_page_names_every_layer():
    page = (ROOT / "docs" / "architecture.md").read_text()
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    for line in contract["layers"]:
        for name in line.replace(":", "|").split("|"):
            part = name.strip().removeprefix("acgraph.").replace(".", "/")
            assert part in page, f"{name.strip()} is not in docs/architecture.md"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_short(name):
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= MAX_LINES


def test_every_module_says_what_it_is():
    silent = [
        n for n, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    # Build from a copy: setuptools leaves build/ and *.egg-info where it works.
    source = folder / "source"
    source.mkdir()
    names = ["acgraph", *TOP_LEVEL, "pyproject.toml", "README.md", "LICENSE"]
    subprocess.run(
        ["cp", "-r", "--no-dereference", *(str(ROOT / name) for name in names), str(source)],
        check=True,
    )
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "-w", str(folder), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("acgraph-*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_has_one_top_level_name(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"acgraph"}


def test_the_wheel_holds_every_module_once_and_the_data(wheel):
    files = [name for name in wheel if name.endswith(".py")]
    assert len(files) == len(set(files)) == len(MODULES)
    assert "acgraph/py.typed" in wheel
    assert "acgraph/report/page.html.jinja" in wheel
    assert "acgraph/models/demo/model.onnx" in wheel
    assert "acgraph/models/demo/train-images.npy.xz" in wheel


def test_the_constraints_pin_what_the_project_needs():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all("==" in line for line in pins)
    names = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    extras = PROJECT["project"]["optional-dependencies"]
    needed = PROJECT["project"]["dependencies"] + extras["test"] + extras["dev"]
    for requirement in needed:
        name = requirement.split(">")[0].split("[")[0].strip().lower()
        assert name in {*names, "acgraph"}, f"{name} is not pinned"


def test_the_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "check"):
        assert f"make {target}" in text
        assert f"\n{target}:" in makefile
    assert "make --no-print-directory test" in (ROOT / ".ci" / "run").read_text()
