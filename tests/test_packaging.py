"""What an installation gets: built from a copy of the sources, without network, and looked at as a stranger would."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PathDistribution, version
from pathlib import Path
from typing import NamedTuple

import pytest
import required
from packaging.version import Version

import geventpop3

ROOT = Path(__file__).parent.parent
NAMED_EXTRA = re.compile(r"geventpop3\[([a-z0-9]+)\]")


class Built(NamedTuple):
    library: Path  # what goes into site-packages
    metadata: PathDistribution
    requirements: dict[str, set[str]]  # by extra; "" is always installed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The package as ``setup.py build`` lays it out, from a copy: a build writes beside its sources."""
    required.module("setuptools")  # a virtual environment of Python 3.12 or newer has none by itself
    copy = tmp_path_factory.mktemp("sources")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("geventpop3", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "egg_info", "build", "--build-lib", "build/lib"],
        cwd=copy,
        check=True,
        capture_output=True,
        timeout=60,
    )
    metadata = PathDistribution(copy / "geventpop3.egg-info")
    requirements: dict[str, set[str]] = {}
    for line in metadata.requires or ():
        requirement, _, marker = line.partition(";")
        extra = re.search(r'extra == "(\w+)"', marker)
        name = re.split(r"[^\w.-]", requirement.strip())[0]
        requirements.setdefault(extra[1] if extra else "", set()).add(name)
    return Built(copy / "build/lib", metadata, requirements)


def test_the_version_is_one_and_in_the_form_of_pep_440(built: Built) -> None:
    assert str(Version(geventpop3.__version__)) == geventpop3.__version__
    assert built.metadata.version == geventpop3.__version__
    assert version("geventpop3") == geventpop3.__version__


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == geventpop3.__version__


def test_every_module_the_data_files_and_the_mark_for_type_checkers_are_packaged(built: Built) -> None:
    packaged = {path.relative_to(built.library) for path in built.library.rglob("*") if path.is_file()}
    sources = {path.relative_to(ROOT) for path in (ROOT / "geventpop3").rglob("*.py")}
    data = {path.relative_to(ROOT) for path in (ROOT / "geventpop3").rglob("*.toml")}
    assert data
    # The accelerators are built where there is a compiler, and described where there is none.
    accelerators = {path for path in packaged if path.match("_speedups.*")}
    assert packaged - accelerators == {
        *sources,
        *data,
        Path("geventpop3/py.typed"),
        Path("geventpop3/testing/double/control/openapi.json"),
    }
    assert Path("geventpop3/wire/_speedups.pyi") in accelerators


def test_the_licence_comes_along(built: Built) -> None:
    assert built.metadata.metadata.get_all("License-File") == ["LICENSE"]
    assert built.metadata.metadata["License"] == (ROOT / "LICENSE").read_text("utf-8").split()[0] == "MIT"


def test_the_description_is_readme_without_what_an_index_cannot_show(built: Built) -> None:
    described = built.metadata.metadata.get_payload()
    assert re.findall(r"!\[|\]\((?!https://|#)", described) == []
    assert "[docs/testing.md](docs/testing.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "docs/testing.md" in described
    assert described.startswith("# geventpop3\n")
    assert "```python\n" in described


def test_tests_are_not_packaged(built: Built) -> None:
    assert [path.name for path in built.library.iterdir()] == ["geventpop3"]


def test_the_core_needs_gevent_and_blinker_alone(built: Built) -> None:
    assert built.requirements[""] == {"gevent", "blinker"}


def test_python_3_11_is_the_oldest(built: Built) -> None:
    assert built.metadata.metadata["Requires-Python"] == ">=3.11"


def test_the_console_script_and_the_pytest_plugin_can_be_imported(built: Built) -> None:
    points = {(point.group, point.name): point for point in built.metadata.entry_points}
    assert points.keys() == {("console_scripts", "geventpop3"), ("pytest11", "geventpop3")}
    assert callable(points["console_scripts", "geventpop3"].load())
    assert points["pytest11", "geventpop3"].load().__name__ == "geventpop3.testing.plugin"


def test_every_extra_that_a_message_or_a_page_names_exists(built: Built) -> None:
    pages = [*(ROOT / "geventpop3").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = {extra for page in pages for extra in NAMED_EXTRA.findall(page.read_text("utf-8"))}
    assert named
    assert named <= built.requirements.keys()
