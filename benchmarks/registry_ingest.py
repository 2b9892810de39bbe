"""`embconv add` against `embconv convert` of the same files, in one run: `python benchmarks/registry_ingest.py`.

Both look at every file, compute its hashes and its digest, and bring its bytes to the disk; add also checks it, keeps it in a
database and makes it searchable. They take turns, so that what else the machine does meets both alike. Needs torch to make the
files, and about two minutes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _measure import installed, table, workplace
from converter import FILES, MAKE, VECTORS, WIDTH, at_rest

BAR = 0.5
ROUNDS = 5

Row = tuple[str, str, str, str, bool]


def timed(command: list[str | Path], environment: dict[str, str] | None = None) -> float:
    """Wall time of one run, begun when the disk has what was written before, for the flush of this one would bring that there too."""
    at_rest()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def measure(embconv: Path, folder: Path) -> list[Row]:
    """Rounds of convert and add, each into a new folder, for ext4 searches long for a place where files were deleted just before."""
    many = folder / "many"
    converting, adding, again = [], [], []
    for number in range(ROUNDS):
        out, home = folder / f"out-{number}", folder / f"home-{number}"
        converting.append(timed([embconv, many, "-o", out, "--nl"]))
        assert len(list(out.iterdir())) == FILES
        add: list[str | Path] = [embconv, "add", many, "--nl"]
        environment = {**os.environ, "EMBCONV_HOME": str(home)}
        adding.append(timed(add, environment))
        assert sum(len(files) for _, _, files in os.walk(home / "blobs")) == FILES
        again.append(timed(add, environment))
    convert, new, known = (FILES / statistics.median(taken) for taken in (converting, adding, again))
    what = f"`embconv add` of {FILES:,} `.pt` ({VECTORS}x{WIDTH}), {os.cpu_count()} cores"
    against = f"`embconv convert` of the same ({convert:,.0f} files/s)"
    return [
        (what, f"{new / convert:.2f} times its rate ({new:,.0f} files/s)", against, f"{BAR} times", new >= BAR * convert),
        ("the same again, all known", f"{known:,.0f} files/s", "", "faster than the first time", known >= new),
    ]


def main() -> None:
    """Print the table."""
    with workplace() as folder:
        programs = installed(folder)
        subprocess.run([sys.executable, "-c", MAKE, folder], check=True)
        rows = measure(programs / "embconv", folder)
    print(table(rows))
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
