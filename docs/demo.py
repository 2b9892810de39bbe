"""What `make demo` shows: sample files are made, then the real command works on them."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import _samples

EMBCONV = Path(sys.executable).with_name("embconv")


def samples(folder: Path) -> None:
    """Write the sample files; where torch is installed, some of them by torch itself."""
    _samples.write(folder)
    if importlib.util.find_spec("torch"):
        by_torch(folder)


def by_torch(folder: Path) -> None:
    """The same embeddings as real programs save them."""
    import torch

    def tensor(count: int, width: int, seed: int) -> torch.Tensor:
        return torch.frombuffer(bytearray(_samples.vectors(count, width, seed).data), dtype=torch.float32).reshape(count, width)

    moonpaper = {**_samples.a1111("moonpaper-v3", _samples.vectors(4, 768)), "string_to_param": {"*": tensor(4, 768, 0)}}
    torch.save(moonpaper, folder / "moonpaper.pt")  # with the records that new torch adds
    torch.save({"<fox-toy>": tensor(1, 768, 1)[0]}, folder / "fox-toy.bin")
    torch.save(moonpaper, folder / "before-torch-1.6.pt", _use_new_zipfile_serialization=False)
    original = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": tensor(2, 768, 10)})}
    torch.save(original, folder / "original-code.pt")


def title(text: str) -> None:
    """A line between two parts."""
    print(f"\n==== {text}", flush=True)


def show(folder: Path, *arguments: str, code: int = 0) -> None:
    """Run `embconv` in the folder as a user would, its command line first; any other exit code ends the demo."""
    print(f"\n$ {shlex.join(['embconv', *arguments])}", flush=True)
    done = subprocess.run([EMBCONV, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
    if done.returncode != code:
        sys.exit(f"The demo expected exit code {code} and got {done.returncode}.")


def main() -> None:
    """Show each command once."""
    with tempfile.TemporaryDirectory(prefix="embconv-demo-") as name:
        top = Path(name)
        samples(top / "embeddings")
        one = "embeddings/moonpaper.pt"
        title("One file: the kind of file is told by its end, the last line is the path")
        show(top, one, "moonpaper.safetensors")
        title("For a program, and refused where it cannot work")
        show(top, "embeddings/paper-xl.safetensors", "paper-xl.safetensors", "--for", "comfyui", "--base", "sdxl")
        show(top, "embeddings/old-style.safetensors", "old.safetensors", "--base", "sdxl", code=1)
        title("A folder: bad files do not stop the others, and the exit code tells that there were some")
        show(top, "embeddings", "-r", "-o", "converted", code=1)
        title("What is this file?")
        show(top, "inspect", one)
        title("Which of these work in ComfyUI?")
        show(top, "check", "converted", "embeddings/epoch9.safetensors", "embeddings/harbour.png", "--for", "comfyui", code=1)
        title("A file that OneTrainer wrote under the wrong key: first what changes, then the file")
        show(top, "repair", "embeddings/epoch9.safetensors", "epoch9-mended.safetensors")
        title("Hashes: the files differ, the digest of the vectors does not")
        show(top, "hash", one, "moonpaper.safetensors")
        title("A file that would start a program wherever it is simply loaded")
        show(top, "embeddings/free-download.pt", "trap.safetensors", code=1)
        show(top, "inspect", "--pickle", "embeddings/free-download.pt", code=1)
    print("\nNothing in a file is ever run, and the sample files are gone again.")


if __name__ == "__main__":
    main()
