"""The converter against torch and safetensors, each pair in one run: `make bench`, or `python benchmarks/converter.py`.

Needs torch, safetensors and about a minute. Times differ between machines, so what counts is the ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _measure import installed, peak, seconds, table, workplace

FILES = 10_000
ROUNDS = 5
VECTORS, WIDTH, VOCABULARY = 8, 768, 49408

# What people do today: one file with torch's safe loader, its vectors saved by safetensors.
TORCH_SCRIPT = """
import sys, torch
from safetensors.torch import save_file
data = torch.load(sys.argv[1], weights_only=True, map_location="cpu")
tensor = data["string_to_param"]["*"] if "string_to_param" in data else next(iter(data.values()))
save_file({"emb_params": tensor.detach().contiguous()}, sys.argv[2])
"""

# The same in a warm process for a whole folder; it prints its rate.
TORCH_LOOP = """
import sys, time, torch
from pathlib import Path
from safetensors.torch import save_file
def convert(path, out):
    data = torch.load(path, weights_only=True, map_location="cpu")
    save_file({"emb_params": data["string_to_param"]["*"].detach().contiguous()}, out / (path.stem + ".safetensors"))
files, out = sorted(Path(sys.argv[1]).glob("*.pt")), Path(sys.argv[2])
for path in files[:200]: convert(path, out)
start = time.perf_counter()
for path in files: convert(path, out)
print(len(files) / (time.perf_counter() - start))
"""

# The files: written by torch as A1111 does it, and a row of a whole vocabulary as diffusers did it in September 2022.
MAKE = f"""
import sys, torch
from pathlib import Path
folder = Path(sys.argv[1]); (folder / "many").mkdir()
torch.manual_seed(0)
for place in range({FILES}):
    vectors = torch.randn({VECTORS}, {WIDTH}) * 0.02
    data = {{"string_to_token": {{"*": 265}}, "string_to_param": {{"*": vectors}}, "name": f"style-{{place}}", "step": 1000,
            "sd_checkpoint": "72f558e947", "sd_checkpoint_name": "v1-5"}}
    torch.save(data, folder / "many" / f"style-{{place:05}}.pt")
table = torch.randn({VOCABULARY} + 1, {WIDTH}) * 0.02
torch.save({{"<cat>": table[{VOCABULARY}]}}, folder / "vocabulary.bin")
"""

Row = tuple[str, str, str, str, bool]


def one_file(embconv: Path, python: Path, folder: Path) -> list[Row]:
    """A cold process for one file: wall time against the torch script and against an empty Python, and peak memory."""
    source, out = folder / "many" / "style-00000.pt", folder / "out.safetensors"
    ours: list[str | Path] = [embconv, source, out]
    theirs: list[str | Path] = [sys.executable, "-c", TORCH_SCRIPT, source, out]
    wall = seconds(ours, times=21, before=lambda: out.unlink(missing_ok=True))
    script, empty = seconds(theirs, times=5), seconds([python, "-c", "pass"], times=21)
    out.unlink(missing_ok=True)
    memory, script_memory = peak(ours), peak(theirs)
    return [
        ("`embconv in.pt out.safetensors`, cold process", f"{script / wall:.1f} times faster ({wall * 1000:.0f} ms)",
         f"torch.load + save_file script ({script * 1000:.0f} ms)", "20 times", script >= 20 * wall),
        ("its peak memory", f"{memory:.0f} MB", f"the same script ({script_memory:.0f} MB)", "40 MB", memory <= 40),
        ("its wall time", f"{(wall - empty) * 1000:.0f} ms more", f"`python -c pass` ({empty * 1000:.0f} ms)", "80 ms more",
         wall - empty <= 0.08),
    ]  # fmt: skip


def one_row(embconv: Path, folder: Path) -> list[Row]:
    """One row of a whole vocabulary."""
    source, out = folder / "vocabulary.bin", folder / "row.safetensors"
    ours: list[str | Path] = [embconv, source, out]
    theirs: list[str | Path] = [sys.executable, "-c", TORCH_SCRIPT, source, out]
    wall, script = seconds(ours, times=11, before=lambda: out.unlink(missing_ok=True)), seconds(theirs, times=5)
    out.unlink(missing_ok=True)
    memory, script_memory = peak(ours), peak(theirs)
    size = source.stat().st_size / 1e6
    return [
        (f"one row of a {size:.0f} MB whole-vocabulary `.bin`", f"{script / wall:.1f} times faster ({wall * 1000:.0f} ms)",
         f"the same script ({script * 1000:.0f} ms)", "20 times", script >= 20 * wall),
        ("its peak memory", f"{memory:.0f} MB", f"the same script ({script_memory:.0f} MB)", "40 MB", memory <= 40),
    ]  # fmt: skip


def bulk(embconv: Path, folder: Path) -> Row:
    """A folder of real-sized files with all hashes, digest, durable writes and read-back, against torch's warm loop with none.

    Medians of rounds that alternate, each into a new folder: ext4 searches long for a place where files were deleted just before.
    Each begins when the disk has all of the one before, or embconv, which flushes what it writes, would flush torch's files too.
    """
    rates, own = [], []
    for place in range(ROUNDS):
        theirs, ours = folder / f"theirs-{place}", folder / f"ours-{place}"
        theirs.mkdir()
        at_rest()
        done = subprocess.run([sys.executable, "-c", TORCH_LOOP, folder / "many", theirs], check=True, capture_output=True, text=True)
        rates.append(float(done.stdout))
        at_rest()
        start = time.perf_counter()
        subprocess.run([embconv, folder / "many", "-o", ours, "--nl"], check=True, stdout=subprocess.DEVNULL)
        own.append(FILES / (time.perf_counter() - start))
        assert len(list(ours.iterdir())) == FILES
    rate, mine = statistics.median(rates), statistics.median(own)
    what = f"{FILES:,} `.pt` ({VECTORS}x{WIDTH}) with all hashes, digest and read-back, {os.cpu_count()} cores"
    got, against = f"{mine / rate:.2f} times its rate ({mine:,.0f} files/s)", f"warm torch loop without them ({rate:,.0f} files/s)"
    return what, got, against, "2 times", mine >= 2 * rate


def at_rest() -> None:
    """Wait until the disk has what was written before."""
    if hasattr(os, "sync"):
        os.sync()


def inspect(embconv: Path, folder: Path) -> Row:
    """Everything about 1,000 files in one call."""
    files = sorted((folder / "many").iterdir())[:1000]
    wall = seconds([embconv, "inspect", "--nl", *files], times=3)
    return "`inspect` of 1,000 files in one call", f"{1000 / wall:,.0f} files/s", "", "1,500 files/s", 1000 / wall >= 1500


def main() -> None:
    """Print the table."""
    with workplace() as folder:
        programs = installed(folder)
        subprocess.run([sys.executable, "-c", MAKE, folder], check=True)
        embconv = programs / "embconv"
        rows = [*one_file(embconv, programs / "python", folder), bulk(embconv, folder), *one_row(embconv, folder), inspect(embconv, folder)]
    print(table(rows))
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
