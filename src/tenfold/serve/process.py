"""What the processes that run the service's code share: how they end, and which version they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.core.errors import TenfoldError, Unavailable

if TYPE_CHECKING:
    from tenfold.topology.map import Map

EXIT_CANNOT_START = 3
"""Starting again will not help: somebody has to change something first."""
EXIT_FATAL = 70
"""The process must not go on (the outcome of a COMMIT is unknown); starting again does help."""

MAP_LOOK_EVERY_S = 0.25
PREPARE_S = 4.0
"""How long the acknowledgement of a map waits for what the map wants opened; the keeper waits 5."""


def exit_code(error: BaseException) -> int:
    """Anything a person has to change first ends with 3; anything else is worth another start."""
    return EXIT_CANNOT_START if isinstance(error, TenfoldError) and not isinstance(error, Unavailable) else 1


def version_of(current: Map, node: str) -> str:
    """The version of the service's code that a map wants `node` to run; empty for the folder of tenfold.toml."""
    found = current.node(node)
    return found.version if found else ""
