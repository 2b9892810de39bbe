"""What `make demo` shows: sample files are made, then the real command works on them."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import _samples
import httpx

EMBCONV = Path(sys.executable).with_name("embconv")
SHEET = Path(__file__).parent.parent / "build" / "demo" / "moonpaper.png"  # it stays, to be looked at


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
    command = [EMBCONV, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
    if done.returncode != code:
        sys.exit(f"The demo expected exit code {code} and got {done.returncode}.")


def registry(top: Path) -> None:
    """Keep the samples, find them again, and do the same over HTTP."""
    title("A registry: the same vectors in two files are one embedding")
    show(top, "add", "embeddings", "converted", "-r", code=1)
    show(top, "search", "paper", "--facet", "base")
    show(top, "export", "--all", "webui/embeddings", "--layout", "a1111", "--sidecars", "json", code=1)
    title("The same over HTTP: served, uploaded, searched, downloaded")
    with served(top) as url:
        client = httpx.Client(base_url=url)
        sent = client.post("/v1/embeddings", files={"file": ("fox.bin", (top / "embeddings" / "fox-toy.bin").read_bytes())})
        print(f"\nPOST /v1/embeddings: {sent.status_code}, {sent.json()['status']}, {sent.json()['embeddings'][0]['digest']}")
        page = client.get("/v1/embeddings", params={"q": "fox", "facet": "base"}).json()
        print(f"GET /v1/embeddings?q=fox: {page['total']} found, {page['items'][0]['trigger']}")
        got = client.get(f"/v1/embeddings/{page['items'][0]['digest']}/file", params={"for": "comfyui"})
        (top / "from-registry.safetensors").write_bytes(got.content)
        print(f"GET .../file?for=comfyui: {len(got.content):,} bytes, {got.headers['content-disposition']}")
        show(top, "hash", "from-registry.safetensors", "-q")
        show(top, "search", "moon", "--registry", url)


@contextmanager
def served(top: Path) -> Iterator[str]:
    """A server on a free port; its URL."""
    command = [EMBCONV, "serve", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, cwd=top, env=environment(top), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        first, second = server.stdout.readline(), server.stdout.readline()
        print(f"\n$ embconv serve --port 0\n{first}{second}", end="", flush=True)
        try:
            yield first.split()[-1]
        finally:
            server.terminate()


def civitai(top: Path) -> None:
    """Mirror an imitation of Civitai, and ask it whose files these are: nobody else is asked in a demo."""
    title("Civitai, or rather a small imitation of it: mirrored once, then only what is new")
    fake = Path(__file__).parent.parent / "tests" / "fakes" / "civitai.py"
    with subprocess.Popen([sys.executable, fake, "--models", "4", "--plain"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        os.environ.update(EMBCONV_CIVITAI_URL=json.loads(server.stdout.readline())["api"], EMBCONV_ALLOW_PRIVATE="1")
        home = ("--home", "mirror")
        try:
            show(top, "sync", "civitai", "--rate", "0", *home)
            show(top, "sync", "civitai", "--rate", "0", *home)
            show(top, "export", "--all", "mirrored", "--layout", "comfyui", "-q", *home)
            title("Whose files are these? Only hashes are sent; converted files are found by what they were made of")
            show(top, "identify", "mirrored", "embeddings/moonpaper.pt", "--rate", "0", *home)
        finally:
            server.terminate()


def validation(top: Path) -> None:
    """Render some of the samples with a tiny model and judge them; the sheet stays."""
    title("What does an embedding do? It is rendered with and without it, from the same noise, here with a tiny model of random weights")
    os.environ.update(TRANSFORMERS_VERBOSITY="critical", DIFFUSERS_VERBOSITY="critical")
    import _tiny

    _tiny.write(top / "models" / "tiny-sd1", "sd1")
    show(top, "checkpoints", "add", "models/tiny-sd1")
    show(top, "validate", "embeddings/moonpaper.pt", "--profile", "quick", "--sheet", "strength,samplers", "-o", str(SHEET), "--force")
    title("Many share one loaded model; what was made for another model is told, and a broken one")
    several = ("fox-toy.bin", "two-words.bin", "harbour.png", "burnt.safetensors", "old-style.safetensors", "free-download.pt")
    show(top, "validate", *(f"embeddings/{name}" for name in several), "--profile", "probe", "--checkpoint", "tiny-sd1", code=1)
    title("The registry keeps a verdict; only what has none is judged")
    show(top, "validate", "--pending", "--limit", "2", "--profile", "quick", code=1)  # the broken one comes first
    show(top, "search", "--verdict", "pass")


def environment(top: Path) -> dict[str, str]:
    """A registry of the demo's own."""
    return {**os.environ, "EMBCONV_HOME": str(top / "registry"), "EMBCONV_REGISTRY": ""}


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
        registry(top)
        validation(top)
        civitai(top)
    print(f"\nNothing in a file is ever run, and the sample files are gone again, but for a sheet to look at:\n{SHEET}")


if __name__ == "__main__":
    main()
