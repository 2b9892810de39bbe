"""Writes openapi.yaml: what the service says of itself at /schema/openapi.yaml."""

from __future__ import annotations

from pathlib import Path

from embconv.registry.routes.description import as_yaml
from embconv.registry.routes.schema import document

if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("openapi.yaml").write_text(as_yaml(document()), "utf-8")
