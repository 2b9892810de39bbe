"""What operators see: a request id, one line of JSON for each request, and numbers for Prometheus."""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
import time
import traceback
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from .settings import LOG_LEVELS

if TYPE_CHECKING:
    from prometheus_client import Metric

SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
SHOWN = 300  # characters of a path in a log line


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the log. Queries, headers and bodies are never in it: there may be secrets in them."""

    at: str
    level: str
    event: str
    request: str = ""
    method: str = ""
    path: str = ""
    route: str = ""
    status: int = 0
    ms: float = 0.0
    sent: int = 0
    code: str = ""
    client: str = ""
    detail: str = ""


class Log:
    """Lines of JSON, those of `level` and above, to `stream`. What it gets is written by `flush`, many lines in one go."""

    def __init__(self, level: str, stream: TextIO | None = None) -> None:
        self._least = LOG_LEVELS.index(level)
        self._stream = stream if stream is not None else sys.stderr
        self._encode = msgspec.json.Encoder().encode_lines
        self._second, self._stamp = 0, ""
        self._lines: list[Line] = []
        self._lock = threading.Lock()

    def takes(self, level: str) -> bool:
        """Is a line of this level written?"""
        return LOG_LEVELS.index(level) >= self._least

    def write(self, level: str, event: str, **facts: Any) -> None:
        """Write a line now, after those that wait."""
        if self.takes(level):
            self.note(Line(self.now(), level, event, **facts))
            self.flush()

    def note(self, line: Line) -> bool:
        """Keep a line until somebody calls `flush`; True where it is the first, so that somebody has to."""
        self._lines.append(line)
        return len(self._lines) == 1

    def flush(self) -> None:
        """Write what was noted. A log that cannot be written stops nothing."""
        with self._lock:
            lines, self._lines = self._lines, []
            if not lines:
                return
            try:
                self._stream.write(self._encode(lines).decode())
                self._stream.flush()
            except (OSError, ValueError):  # closed, or its disk is full
                return

    def failure(self, request: str, exc: BaseException) -> None:
        """A mistake of ours, with all that is known of it."""
        self.write("error", "failure", request=request, detail="".join(traceback.format_exception(exc)))

    def now(self) -> str:
        """The moment, as the lines have it."""
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._stamp}.{int(moment * 1000) % 1000:03d}Z"


class Ids:
    """Ids of requests: the caller's own where it is sane, else one that no other request has."""

    def __init__(self) -> None:
        self._start, self._count = os.urandom(4).hex(), itertools.count(1)

    def take(self, given: bytes | None) -> str:
        """An id; `given` is the caller's."""
        if given is not None and SANE_ID.fullmatch(given):
            return given.decode("ascii")
        return f"{self._start}-{next(self._count):x}"


class Numbers:
    """What is counted, in this process alone: with several workers each answers for itself.

    Requests are counted by the event loop's thread only; everything else under a lock.
    """

    def __init__(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._gauges = gauges
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._times: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * (len(BOUNDS) + 2))
        self._counts: dict[str, dict[str, float]] = {name: defaultdict(float) for name in COUNTERS}
        self._lock = threading.Lock()
        self.running = 0
        self.started = time.time()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests[route, method, status] += 1
        times = self._times[route, method]
        times[bisect_left(BOUNDS, seconds)] += 1
        times[-1] += seconds

    def count(self, what: str, label: str = "", amount: float = 1) -> None:
        """Something of COUNTERS happened."""
        with self._lock:
            self._counts[what][label] += amount

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry()  # not the one of the process: an application counts for itself
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Every number."""
        yield from self._of_requests()
        yield from self._of_counts()
        yield from self._of_gauges()

    def _of_requests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("embconv_requests", "Requests answered.", labels=["route", "method", "status"])
        for (route, method, status), number in list(self._requests.items()):
            requests.add_metric([route, method, str(status)], number)
        yield requests
        durations = HistogramMetricFamily("embconv_request_duration_seconds", "To the last byte of the answer.", labels=["route", "method"])
        for (route, method), times in list(self._times.items()):
            sums = list(itertools.accumulate(times[:-1]))
            buckets = [(str(bound), number) for bound, number in zip((*BOUNDS, "+Inf"), sums, strict=True)]
            durations.add_metric([route, method], buckets, sum_value=times[-1])
        yield durations

    def _of_counts(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        with self._lock:
            counts = {name: dict(found) for name, found in self._counts.items()}
        for name, (says, label) in COUNTERS.items():
            family = CounterMetricFamily(f"embconv_{name}", says, labels=[label] if label else [])
            for value, number in (counts[name] or ({} if label else {"": 0})).items():
                family.add_metric([value] if label else [], number)
            yield family

    def _of_gauges(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        own = {"requests_running": ("Requests that are being answered.", self.running),
               "start_time_seconds": ("When this process began to serve.", self.started)}  # fmt: skip
        for name, (says, value) in {**own, **self._gauges()}.items():
            yield GaugeMetricFamily(f"embconv_{name}", says, value=value)


COUNTERS = {  # name -> what it counts, and by what
    "ingests": ("Files taken, by whether an embedding in them was new.", "status"),
    "refusals": ("Files not taken, by the code of the reason.", "code"),
    "problems": ("Errors answered, by their code.", "code"),
    "uploaded_bytes": ("Bytes of files received.", ""),
    "downloaded_bytes": ("Bytes of files sent.", ""),
    "conversions": ("Forms handed out, by whether they were in the cache.", "cache"),
}
