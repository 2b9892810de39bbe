"""`embconv hash`: every hash anyone computes for a file, and the digest of its vectors."""

from __future__ import annotations

import hashlib
from typing import Any

import click
from msgspec import to_builtins

from embconv.converters.convert import failure
from embconv.converters.display import printable
from embconv.converters.errors import EmbconvError, FileError
from embconv.converters.hashes import a1111_checksum, digest, hashes
from embconv.converters.model import Embedding
from embconv.converters.names import trigger_of
from embconv.converters.numbers import as_float32
from embconv.converters.read import examine
from embconv.converters.source import Source

from .app import FILE, app, expand, one_way, print_json, reports
from .say import say_error, without_name


@app.command(name="hash", short_help="Print every hash of files, and their digests.")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("-q", "--quiet", is_flag=True, help="Print the digests and nothing else.")
@reports
def command(paths: tuple[str, ...], quiet: bool, as_document: bool, as_lines: bool) -> None:
    """Print all hashes of each FILE (also of one that is no embedding), the digest of its vectors, and A1111's checksum of them."""
    one_way(as_document, as_lines, quiet)
    found: list[Any] = []
    bad = False
    for path in expand(paths):
        try:
            result = all_hashes(path)
        except EmbconvError as exc:
            bad, result = True, {"path": path, "error": to_builtins(failure(path, exc).error)}
            if not (as_document or as_lines):
                say_error(exc)
                continue
        found.append(result)
        if not (as_document or as_lines):
            click.echo("\n".join(words(result, quiet)))
    if as_document or as_lines:
        print_json(found, lines=as_lines)
    raise SystemExit(1 if bad else 0)


def all_hashes(path: str) -> dict[str, Any]:
    """The hashes of the bytes, and of the vectors where there are any; `error` says why there are none."""
    with Source(path) as source:
        result: dict[str, Any] = {"path": path, "size": source.size, "hashes": to_builtins(hashes(source))}
        try:
            return {**result, "embeddings": [vector_hashes(embedding) for embedding in examine(source).embeddings]}
        except FileError as exc:
            return {**result, "embeddings": [], "error": to_builtins(failure(path, exc).error)}


def vector_hashes(embedding: Embedding) -> dict[str, Any]:
    """The digest, and for each encoder the SHA-256 of its float32 values and A1111's checksum of them."""
    named = {**embedding.vectors, **{f"{key}_out": tensor for key, tensor in embedding.output_vectors.items()}}
    encoders = {
        key: {"sha256_f32": hashlib.sha256(as_float32(tensor)).hexdigest(), "a1111_checksum": a1111_checksum(tensor)}
        for key, tensor in named.items()
    }
    return {"trigger": trigger_of(embedding.names), "digest": digest(embedding), "encoders": encoders}


def words(result: dict[str, Any], quiet: bool) -> list[str]:
    """The hashes for people."""
    digests = [embedding["digest"] for embedding in result["embeddings"]]
    if quiet:
        return digests
    lines = [printable(result["path"]), *(f"  {kind:<16} {value}" for kind, value in result["hashes"].items())]
    for embedding in result["embeddings"]:
        lines.append(f"  {'digest':<16} {embedding['digest']}")
        lines += [f"  {'a1111 checksum':<16} {encoder['a1111_checksum']} ({key})" for key, encoder in embedding["encoders"].items()]
    if "error" in result:
        lines.append(f"  {'no digest':<16} {without_name(result['error']['says'], result['path'])}")
    return lines
