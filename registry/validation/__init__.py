"""Test renders: the only package that imports torch, diffusers and transformers (the extra `render`), and nothing else imports it."""
