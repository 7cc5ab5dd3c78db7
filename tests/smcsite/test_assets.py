"""Static files: whole, known again by the browser, and never an open file that an asynchronous server must read."""

import gzip

import pytest
from django.conf import settings
from django.test import Client

PATH = "/static/js/live.js"
CONTENT = (settings.BASE_DIR / "static/js/live.js").read_bytes()


def test_a_static_file_is_answered_whole_and_not_streamed(client: Client) -> None:
    answer = client.get(PATH)
    assert not answer.streaming
    assert answer.content == CONTENT
    assert answer["Content-Type"].startswith("text/javascript")


def test_a_static_file_is_compressed_for_whom_reads_that(client: Client) -> None:
    answer = client.get(PATH, headers={"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.content) == CONTENT


def test_a_static_file_that_the_browser_has_is_not_sent_again(client: Client) -> None:
    first = client.get(PATH)
    again = client.get(PATH, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [("bytes=0-9", 206, CONTENT[:10]), ("bytes=-5", 206, CONTENT[-5:]), ("bytes=x-y", 200, CONTENT)],
)
def test_a_part_of_a_static_file_may_be_asked_for(client: Client, asked: str, status: int, told: bytes) -> None:
    answer = client.get(PATH, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, told)


def test_only_reading_is_possible(client: Client) -> None:
    assert client.post(PATH).status_code == 405
    head = client.head(PATH)
    assert (head.status_code, head.content, head["Content-Length"]) == (200, b"", str(len(CONTENT)))
