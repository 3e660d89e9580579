"""What a block's statistics say about a number besides its value: `held: int = field(metadata=GAUGE)`."""

from __future__ import annotations

from collections.abc import Mapping

GAUGE: Mapping[str, str] = {"kind": "gauge"}
"""It goes up and down. Without this a number only grows while the process lives."""
