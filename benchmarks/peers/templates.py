"""Peers' configuration files: plain text beside this module, with `{{name}}` where a value belongs."""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.workload import (
    AMPLE,
    KEY,
    KEY_HEADER,
    METERED_BURST,
    METERED_KEY,
    METERED_PATH,
    METERED_PER_MINUTE,
    PATH,
)

TEMPLATES = Path(__file__).resolve().parent / "config"
SLOT = re.compile(r"\{\{(\w+)\}\}")

POLICY: Mapping[str, object] = {
    "path": PATH,
    "metered_path": METERED_PATH,
    "key": KEY,
    "metered_key": METERED_KEY,
    "key_header": KEY_HEADER,
    "per_second": AMPLE.per_second,
    "per_minute": AMPLE.per_minute,
    "burst": AMPLE.burst,
    "metered_per_minute": METERED_PER_MINUTE,
    "metered_burst": METERED_BURST,
}


def write_config(name: str, folder: Path, **values: object) -> Path:
    """The template `name` with its slots filled, written to `folder`: with these values, and with the policy that all
    peers share. A slot without a value raises `KeyError`.
    """
    values = {**POLICY, "folder": folder, **values}
    text = SLOT.sub(lambda slot: str(values[slot[1]]), (TEMPLATES / name).read_text())
    path = folder / name
    path.write_text(text)
    return path
