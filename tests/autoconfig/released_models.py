"""Configurations of released models, each with its source, as `model_configs.json` holds them."""

import json
from pathlib import Path
from typing import Any

from autoconfig.kv_layout import KvLayout, kv_layout

MODELS: dict[str, dict[str, Any]] = {
    name: row
    for name, row in json.loads((Path(__file__).parent / "model_configs.json").read_text(encoding="utf-8")).items()
    if not name.startswith("_")
}


def layout_of(name: str) -> KvLayout:
    layout = kv_layout(MODELS[name])
    assert layout is not None
    return layout
