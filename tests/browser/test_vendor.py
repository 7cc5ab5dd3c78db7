"""Files of others are what their authors published, or made of it as THIRD_PARTY.md says, their licence beside them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
VENDOR = ROOT / "static" / "vendor"
VENDORED: list[dict[str, Any]] = json.loads((VENDOR / "vendor.json").read_text())["vendored"]


def test_every_vendored_file_is_listed() -> None:
    listed = {f"{each['folder']}/{name}" for each in VENDORED for name in each["files"]}
    found = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert found - {"vendor.json"} == listed


@pytest.mark.parametrize("each", VENDORED, ids=[each["name"] for each in VENDORED])
def test_vendored_files_have_the_digest_that_is_on_record(each: dict[str, Any]) -> None:
    assert each["folder"].endswith(each["version"])
    assert "LICENSE" in each["files"]
    for name, digest in each["files"].items():
        assert hashlib.sha256((VENDOR / each["folder"] / name).read_bytes()).hexdigest() == digest, name


def test_third_party_page_names_each_version() -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text()
    for each in VENDORED:
        assert f"| {each['version']}" in text, each["name"]
        assert each["licence"] in text, each["name"]


def test_third_party_page_names_what_was_made_of_a_published_file() -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text()
    made = {name: origin for each in VENDORED for name, origin in each.get("made", {}).items()}
    assert made
    for name, origin in made.items():
        assert all(part in text for part in (name, origin["from"], origin["by"].replace("fonttools ", "")))


def test_package_json_pins_what_is_vendored() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    for each in VENDORED:
        assert wanted[each["package"]] == each["version"]
