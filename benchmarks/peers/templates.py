"""Peers' configuration files: plain text beside this module, with `{{name}}` where a value belongs."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent / "config"
SLOT = re.compile(r"\{\{(\w+)\}\}")


def write_config(name: str, folder: Path, values: dict[str, object]) -> Path:
    """The template `name` with its slots filled, written to `folder`. A slot without a value raises `KeyError`."""
    text = SLOT.sub(lambda slot: str(values[slot[1]]), (TEMPLATES / name).read_text())
    path = folder / name
    path.write_text(text)
    return path
