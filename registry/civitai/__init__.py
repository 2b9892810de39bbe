"""Civitai: asked politely, believed carefully, kept when it forgets; and its API's shape for programs that know only that."""
