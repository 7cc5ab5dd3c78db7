"""What a linter of Dockerfiles asks (the rules of hadolint that can apply here, by their numbers)."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, continuation lines joined: ``COPY`` and its arguments."""

    name: str
    text: str


def instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def complaints(text: str) -> set[str]:
    """Return the numbers of the rules that a Dockerfile breaks."""
    found = instructions(text)
    return {rule for each in found for rule, is_broken in _ONE_LINE.items() if is_broken(each)} | set(_whole(found))


def _is_untagged(each: Instruction) -> bool:
    image = each.text.split()[0]
    return ":" not in image or image.endswith(":latest")


def _installs_loosely(each: Instruction) -> bool:
    if "apt-get install" not in each.text:
        return False
    return not all(word in each.text for word in ("--no-install-recommends", "rm -rf /var/lib/apt/lists"))


def _is_shell_form(each: Instruction) -> bool:
    try:
        return not isinstance(json.loads(each.text), list)
    except ValueError:
        return True


def _of(*names: str, breaks: Callable[[Instruction], bool]) -> Callable[[Instruction], bool]:
    return lambda each: each.name in names and breaks(each)


_SECRET = re.compile(r"(SECRET|PASSWORD|TOKEN|_KEY)\w*\s*=", re.IGNORECASE)
_ONE_LINE: dict[str, Callable[[Instruction], bool]] = {
    "DL3000": _of("WORKDIR", breaks=lambda each: not each.text.startswith("/")),
    "DL3003": _of("RUN", breaks=lambda each: re.search(r"(^|[;&|]\s*)cd ", each.text) is not None),
    "DL3004": _of("RUN", breaks=lambda each: re.search(r"\bsudo\b", each.text) is not None),
    "DL3006": _of("FROM", breaks=_is_untagged),
    "DL3009": _of("RUN", breaks=_installs_loosely),
    "DL3013": _of("RUN", breaks=lambda each: "pip install" in each.text and "--require-hashes" not in each.text),
    "DL3020": _of("ADD", breaks=lambda _: True),
    "DL3025": _of("CMD", "ENTRYPOINT", breaks=_is_shell_form),
    "DL4006": _of("RUN", breaks=lambda each: re.search(r"[^|]\|[^|]", each.text) is not None),
    "secret": _of("ENV", "ARG", breaks=lambda each: _SECRET.search(each.text) is not None),
}


def _whole(found: list[Instruction]) -> Iterator[str]:
    """Yield the rules about the whole file that are broken."""
    names = [each.name for each in found]
    last_stage = found[len(names) - 1 - names[::-1].index("FROM") :]
    users = [each.text.split(":")[0] for each in last_stage if each.name == "USER"]
    if not users or users[-1] in ("0", "root"):
        yield "DL3002"
    for rule, name in (("DL3012", "HEALTHCHECK"), ("DL4003", "CMD"), ("DL4004", "ENTRYPOINT")):
        if sum(each.name == name for each in last_stage) > 1:
            yield rule
    stages = {each.text.split()[-1] for each in found if each.name == "FROM" and " AS " in each.text.upper()}
    sources = {match[1] for each in found if (match := re.search(r"--from=(\S+)", each.text)) is not None}
    if sources - stages:
        yield "DL3022"
    if any("pip install" in each.text and "--no-cache-dir" not in each.text for each in found) and not any(
        each.name == "ENV" and "PIP_NO_CACHE_DIR=1" in each.text for each in found
    ):
        yield "DL3042"
