"""Request ids, lines of log, numbers."""

from __future__ import annotations

import io
import json
import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from embconv.registry.observe import BOUNDS, Ids, Line, Log, Numbers


@pytest.mark.parametrize("given", [b"abc", b"A-1.b_2", b"0" * 64, b"b1946ac9-92f5-4f6c-9b3e-0242ac120002"])
def test_a_sane_id_of_the_caller_is_kept(given: bytes) -> None:
    assert Ids().take(given) == given.decode()


@pytest.mark.parametrize("given", [None, b"", b" ", b"a b", b"a\r\nx: 1", b"\x1b[31m", b"-a", b"0" * 65, "ü".encode(), b'"', b"../a"])
def test_any_other_is_not(given: bytes | None) -> None:
    ids = Ids()
    made = {ids.take(given) for _ in range(1000)}
    assert len(made) == 1000
    assert all(one.isascii() and one.replace("-", "").isalnum() for one in made)


def test_lines_are_json_whatever_is_in_them() -> None:
    stream = io.StringIO()
    log = Log("info", stream)
    log.write("info", "said", path="/a\nb\x1b[31m\u2028", detail='"')
    line, end = stream.getvalue().split("\n")
    assert end == ""
    assert (json.loads(line)["path"], json.loads(line)["level"]) == ("/a\nb\x1b[31m\u2028", "info")


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    log = Log("warning", stream)
    log.write("info", "said")
    log.write("error", "said")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == ["error"]


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    stream = io.StringIO()
    log = Log("info", stream)
    stream.close()
    log.write("info", "said")


def test_a_mistake_is_logged_with_where_it_was_made() -> None:
    stream = io.StringIO()
    try:
        math.sqrt(-1)
    except ValueError as exc:
        Log("info", stream).failure("id-1", exc)
    line = json.loads(stream.getvalue())
    assert (line["request"], "math.sqrt(-1)" in line["detail"]) == ("id-1", True)


def test_lines_of_requests_are_written_together() -> None:
    stream = io.StringIO()
    log = Log("info", stream)
    assert [log.note(Line(log.now(), "info", "request", path=f"/{place}")) for place in range(3)] == [True, False, False]
    assert stream.getvalue() == ""
    log.flush()
    assert [json.loads(line)["path"] for line in stream.getvalue().splitlines()] == ["/0", "/1", "/2"]


def families(numbers: Numbers) -> dict[str, dict[tuple[str, ...], float]]:
    """As Prometheus' own parser reads it: name -> values of the labels, by their names -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(numbers.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_numbers_are_read_by_prometheus() -> None:
    numbers = Numbers(lambda: {"kept_files": ("Files.", 3.0)})
    for seconds in (0.0005, 0.001, 0.02, 100.0):
        numbers.request("/v1/embeddings/{ref}", "GET", 200, seconds)
    numbers.request("", "", 404, 0.001)
    numbers.count("ingests", "added")
    numbers.count("uploaded_bytes", amount=24_000)
    numbers.count("refusals", 'a"b\nc\\')
    found = families(numbers)
    assert found["embconv_requests_total"] == {("GET", "/v1/embeddings/{ref}", "200"): 4, ("", "", "404"): 1}
    buckets = {le: value for (le, method, _), value in found["embconv_request_duration_seconds_bucket"].items() if method}
    assert len(buckets) == len(BOUNDS) + 1
    assert (buckets["0.001"], buckets["0.025"], buckets["60.0"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert found["embconv_request_duration_seconds_count"]["GET", "/v1/embeddings/{ref}"] == 4
    assert found["embconv_request_duration_seconds_sum"]["GET", "/v1/embeddings/{ref}"] == pytest.approx(100.0215)
    assert found["embconv_ingests_total"] == {("added",): 1}
    assert found["embconv_refusals_total"] == {('a"b\nc\\',): 1}
    assert (found["embconv_uploaded_bytes_total"], found["embconv_kept_files"]) == ({(): 24_000}, {(): 3})


def test_two_applications_count_for_themselves() -> None:
    one, other = Numbers(dict), Numbers(dict)
    one.count("ingests", "added")
    assert ("embconv_ingests_total" in families(other)) is False
