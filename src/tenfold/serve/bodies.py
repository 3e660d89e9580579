"""How much a request's body may have: `public.body_limit`, or what the code says of its route.

app = tf.asgi(app, body_limits={"/api/v1/uploads": "20MB", "/albums/{id}/photos": "20MB"})
"""

from __future__ import annotations

from collections.abc import Mapping

from tenfold.core.errors import ContractError, UsageError
from tenfold.core.units import format_size, parse_size
from tenfold.serve.templates import Templates
from tenfold.topology.map import BODY_MAX

_WHAT = "route with a body limit"


class BodyLimits:
    """The limits of routes, in bytes, by path templates as those of hot routes; whatever the method."""

    def __init__(self, limits: Mapping[str, str | int]) -> None:
        """`ContractError` for a template that cannot work, or a limit that is none of 1 byte to 1 GB."""
        self._routes = Templates({template: _limit(template, size) for template, size in limits.items()}, _WHAT)

    def of(self, path: str, otherwise: int) -> int:
        """The limit of a path; `otherwise` where no route says one."""
        found = self._routes.find(path)
        return otherwise if found is None else found[0]


def _limit(template: str, size: str | int) -> int:
    try:
        limit = parse_size(size)
    except UsageError as error:
        raise ContractError(f'The body limit of "{template}" is none: {error}') from None
    if not 1 <= limit <= BODY_MAX:
        raise ContractError(
            f'The body limit of "{template}" is {format_size(limit)}.', hint=f"1 byte to {format_size(BODY_MAX)}."
        )
    return limit
