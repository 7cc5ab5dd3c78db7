"""The Dockerfile holds to what a linter asks. Without an engine, and without the linter, that is as far as it goes."""

import pytest

from smcsite.env import BASE_DIR
from tests.operations.dockerfile import complaints

DOCKERFILE = (BASE_DIR / "Dockerfile").read_text()


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    assert complaints(DOCKERFILE) == set()


@pytest.mark.parametrize(
    ("rule", "former", "new"),
    [
        ("DL3000", "WORKDIR /app", "WORKDIR app"),
        ("DL3002", "USER smc", "USER root"),
        ("DL3002", "USER smc", ""),
        ("DL3003", "RUN useradd", "RUN cd /tmp && useradd"),
        ("DL3004", "RUN useradd", "RUN sudo useradd"),
        ("DL3006", "FROM python:3.11-slim-bookworm\n", "FROM python:latest\n"),
        ("DL3006", "FROM python:3.11-slim-bookworm\n", "FROM python\n"),
        ("DL3009", "RUN useradd", "RUN apt-get update && apt-get install -y gcc && useradd"),
        ("DL3013", "--require-hashes ", ""),
        ("DL3020", "COPY . /app", "ADD . /app"),
        ("DL3022", "--from=build", "--from=elsewhere"),
        ("DL3025", 'CMD ["python", "-m", "smcsite.web"]', "CMD python -m smcsite.web"),
        ("DL3042", "PIP_NO_CACHE_DIR=1", ""),
        ("DL4003", "VOLUME /data", 'CMD ["sh"]'),
        ("DL4006", "RUN useradd", "RUN wget -O - https://example.org | sh && useradd"),
        ("secret", "EXPOSE 8000 8001", "ENV SHARED_SECRET=x"),
    ],
)
def test_the_linter_finds_what_it_is_for(rule: str, former: str, new: str) -> None:
    assert former in DOCKERFILE
    assert rule in complaints(DOCKERFILE.replace(former, new))


def test_the_image_holds_nothing_of_the_developer() -> None:
    ignored = set((BASE_DIR / ".dockerignore").read_text().split())
    assert {".git", ".env", ".venv", "data", "reports", "node_modules"} <= {each.strip("/") for each in ignored}
