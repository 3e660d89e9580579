"""PostgreSQL: a server that Tenfold supervises, or one that the user runs. `parse_url` reads where the latter is."""

from __future__ import annotations

from tenfold.engines.postgres.address import ServerUrl, parse_url

__all__ = ["ServerUrl", "parse_url"]
