"""Errors as HTTP clients see them: problem documents (RFC 9457), without anything that is nobody's business."""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec

from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.serve.hot import Response

_CONTENT_TYPE = (b"content-type", b"application/problem+json")
_NOT_STORED = (b"cache-control", b"no-store")


class Problem(msgspec.Struct, omit_defaults=True):
    """The members of a problem document. `instance` is the request id, which the logs carry too."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    hint: str = ""
    instance: str = ""


def problem_of(error: BaseException, request_id: str) -> Problem:
    """What a client may know of an error: sentence and hint of a public `TenfoldError`, title and code of the others,
    and of anything else only that it happened and under which request id."""
    if not isinstance(error, TenfoldError):
        return Problem(
            type="about:blank",
            title="Internal Server Error",
            status=500,
            code="TF-INTERNAL",
            detail="The request could not be answered; the id below finds the reason in the service's log.",
            instance=request_id,
        )
    return Problem(
        type=f"urn:tenfold:{error.code}",
        title=error.title,
        status=error.status,
        code=error.code,
        detail=error.for_clients,
        hint=error.hint if error.public else "",
        instance=request_id,
    )


def problem_response(error: BaseException, request_id: str, *, close: bool = False) -> Response:
    """The response for an error. `close` announces that the connection ends with it."""
    problem = problem_of(error, request_id)
    headers = [_CONTENT_TYPE, _NOT_STORED]
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if close:
        headers.append((b"connection", b"close"))
    return Response(problem.status, headers, msgspec.json.encode(problem))


def raw_problem(status: int, detail: str) -> bytes:
    """A whole HTTP/1.1 answer for what is refused before it is a request; it ends the connection."""
    phrase = HTTPStatus(status).phrase
    problem = Problem(type="about:blank", title=phrase, status=status, code="TF-REQUEST", detail=detail)
    body = msgspec.json.encode(problem)
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
