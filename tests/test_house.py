"""The repository as a whole: files that must agree with each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands
from django.template import Engine
from packaging.requirements import Requirement
from packaging.version import Version

from smcsite import env
from smcsite.version import VERSION

ROOT = env.BASE_DIR
OURS = {"smcsite", "markets", "signals", "backtests", "scanner"}


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^ \\;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_example_environment_lists_every_variable() -> None:
    assert (ROOT / ".env.example").read_text() == env.example()


@pytest.mark.parametrize(("file", "groups"), [("requirements.txt", []), ("requirements-test.txt", ["test", "check"])])
def test_pinned_requirements_meet_what_the_project_asks_for(file: str, groups: list[str]) -> None:
    project = _project()
    wanted = [
        *project["project"]["dependencies"],
        *(each for name in groups for each in project["dependency-groups"][name]),
    ]
    pins = _pins(file)
    for text in wanted:
        requirement = Requirement(text)
        pinned = pins.get(requirement.name.lower().replace("_", "-"))
        assert pinned is not None, f"{requirement.name} is not pinned in {file}: make lock"
        assert requirement.specifier.contains(pinned, prereleases=True), f"{text} but {file} pins {pinned}: make lock"


def test_the_test_requirements_pin_what_production_runs() -> None:
    production, test = _pins("requirements.txt"), _pins("requirements-test.txt")
    assert {name: test.get(name) for name in production} == production


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-test.txt"])
def test_lock_has_hashes(file: str) -> None:
    """S42: every pinned file can be checked against its hash."""
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / file).read_text().strip())
    assert len(blocks) > 40
    assert [block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


# What was dangerous before: CVE-2026-33034 and CVE-2026-5766 (Django), CVE-2023-47248 (pyarrow).
@pytest.mark.parametrize(
    ("package", "oldest"), [("django", "5.2.14"), ("pyarrow", "14.0.1"), ("websocket-client", "1.9.2")]
)
def test_min_versions(package: str, oldest: str) -> None:
    """S34, S37."""
    assert Version(_pins("requirements.txt")[package]) >= Version(oldest)


def test_the_version_is_the_same_everywhere() -> None:
    assert _project()["project"]["version"] == VERSION


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "THIRD_PARTY.md"]
)
def test_docs_present(name: str) -> None:
    """S47, and what every repository has."""
    assert len((ROOT / name).read_text()) > 400


def test_the_security_page_names_a_contact_versions_times_and_the_trust_model() -> None:
    """S47."""
    text = (ROOT / "SECURITY.md").read_text().lower()
    for word in ("contact", "supported versions", "days", "one trust level", "rotation"):
        assert word in text


def test_every_command_of_ours_is_documented() -> None:
    text = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    ours = [name for name, app in get_commands().items() if app in OURS and name != "runserver"]
    assert [name for name in ours if f"manage.py {name}" not in text and f"`{name}" not in text] == []


def test_every_variable_is_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in env.names() if f"`{name}`" not in text] == []


def _links(page: Path) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()) if "://" not in link and link != "mailto:"]


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    assert [link for link in _links(page) if not (page.parent / link).exists()] == []


def test_no_module_is_called_by_what_it_might_hold() -> None:
    attics = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [path for app in OURS | {"tests"} for path in (ROOT / app).rglob("*.py") if path.name in attics] == []


def test_no_line_of_a_template_is_longer_than_a_screen() -> None:
    long = []
    for path in sorted((ROOT / "templates").rglob("*.html")):
        lines = enumerate(path.read_text().splitlines(), 1)
        long += [f"{path.name}:{number}" for number, line in lines if len(line) > 140]
    assert long == []


def test_a_template_loads_only_what_it_uses() -> None:
    libraries = Engine.get_default().template_libraries
    idle = []
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text()
        used = set(re.findall(r"{% *(\w+)|\|(\w+)", text)) - {("load", "")}
        tags, filters = ({pair[place] for pair in used} for place in (0, 1))
        for name in " ".join(re.findall(r"{% load ([^%]*)%}", text)).split():
            library = libraries[name]
            if not (library.tags.keys() & tags or library.filters.keys() & filters):
                idle.append(f"{path.name}: {name}")
    assert idle == []
