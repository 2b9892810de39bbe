"""A registry of embeddings: files and vectors known by what they are, searched, served and never lost."""
