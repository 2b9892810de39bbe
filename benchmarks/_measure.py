"""Shared by the benchmarks: a clean installation of embconv, timings of processes, their peak memory, Markdown tables."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Programs start as they do for users: modules were compiled when they were installed or first imported. Without this, a peer that
# imports torch would compile all of it at each start, where the environment forbids to keep that.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for one benchmark. `make bench` removes them all at its end: where much was deleted ext4 makes files slowly for minutes."""
    if all_of_them := os.environ.get("EMBCONV_BENCH"):
        yield Path(tempfile.mkdtemp(dir=all_of_them))
        return
    with tempfile.TemporaryDirectory(prefix="embconv-bench-") as folder:
        yield Path(folder)


def installed(folder: Path) -> Path:
    """A fresh environment with embconv as users have it: its folder of programs. An editable install starts slower."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    quiet = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    subprocess.run([*quiet, ROOT], check=True, stdin=subprocess.DEVNULL)
    return programs


def seconds(command: list[str | Path], *, times: int, before: Callable[[], object] = lambda: None) -> float:
    """The median wall time of a command, in seconds, after one run that fills the caches."""
    taken = []
    for _ in range(times + 1):
        before()
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def peak(command: list[str | Path]) -> float:
    """The peak resident memory of a command in MB, measured by a small parent (a child starts from its parent's peak)."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) / (1024 * 1024 if sys.platform == "darwin" else 1024)


def table(rows: Iterable[tuple[str, str, str, str, bool]]) -> str:
    """What was measured as Markdown: what, result, against, bar, and whether it holds."""
    lines = ["| what | measured | against, in the same run | bar | |", "|---|---|---|---|---|"]
    for what, got, against, bar, holds in rows:
        lines.append(f"| {what} | {got} | {against} | {bar} | {'holds' if holds else '**missed**'} |")
    return "\n".join(lines)
