"""Headers that blocks add to a response, so that no shared cache ever keeps what belongs to one visitor.

A cookie is somebody's: on a response that says nothing of caches it brings `no-store`, on one that may be kept it
brings `private`. On one that is declared public it is left out, because every later reader would be given it (RFC 9111,
section 7.3): that is a mistake of the handler, and the log says so.
"""

from __future__ import annotations

import logging

Headers = list[tuple[bytes, bytes]]

log = logging.getLogger("tenfold.serve")

_COOKIE, _CONTROL = b"set-cookie", b"cache-control"


def with_added(headers: Headers, added: Headers, where: str) -> Headers:
    """The headers of a response with those that blocks add; `where` names the request in the log.

    A `cache-control` that a block adds counts only where the response has none.
    """
    control = b",".join(value for name, value in headers if name.lower() == _CONTROL).lower()
    if control:
        added = [pair for pair in added if pair[0] != _CONTROL]
    if not any(name == _COOKIE for name, _ in added):
        return [*headers, *added]
    if not control:
        plain = [pair for pair in added if pair[0] != _CONTROL]
        return [*headers, *plain, (_CONTROL, b"no-store")]
    directives = {part.partition(b"=")[0].strip() for part in control.split(b",")}
    if directives & {b"public", b"s-maxage"}:
        log.error(
            "%s: the response is declared public, so a cookie was left out of it. Shared caches would give it to "
            "everybody: answer with `cache-control: private`, or leave the session alone there.",
            where,
        )
        return [*headers, *(pair for pair in added if pair[0] != _COOKIE)]
    if directives & {b"private", b"no-store"}:
        return [*headers, *added]
    return [*headers, *added, (_CONTROL, b"private")]
