"""Sending an upload so that no browser takes it for a part of the service.

What users bring may be a page with scripts. So a browser must not guess (`nosniff`), runs nothing of it
(`Content-Security-Policy: sandbox`), and shows only what cannot carry scripts; all else is saved as a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Literal

from tenfold.blocks.files.http import Answer, Headers, answer, disposition, lookup
from tenfold.blocks.files.static import Respond
from tenfold.blocks.files.uploads import File

SHOWN = frozenset(
    {
        "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "audio/mpeg", "audio/flac", "audio/wav",
        "audio/mp4", "application/ogg", "video/mp4", "video/webm", "text/plain",
    }
)  # fmt: skip
"""Types that may be shown in the page; the others are always saved."""
ALONE = b"default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; img-src 'self'; sandbox"

Send = Callable[[dict[str, Any]], Awaitable[None]]


class FileAnswer:
    """The answer with an upload, or a part of it: an ASGI application, and its parts for frameworks that want those.

    `status` is 200, 206, 304 or 416; `headers` are pairs of bytes; `body` yields the pieces, once.
    """

    def __init__(self, file: File, found: Answer, respond: Respond) -> None:
        self.status = found.status
        self._file = file
        self._span = found.span
        self._respond = respond
        size = 0 if found.span is None else found.span.size
        self.headers: Headers = list(found.headers)
        if found.status != 304:
            self.headers.append((b"content-length", b"%d" % size))

    @property
    def text_headers(self) -> dict[str, str]:
        """The headers as text, for `StreamingResponse(answer.body, answer.status, answer.text_headers)`."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}

    @property
    def body(self) -> AsyncGenerator[bytes, None]:
        """The pieces of the body."""
        return _nothing() if self._span is None else self._file.pieces(self._span.start, self._span.stop)

    def hot(self) -> Any:
        """The `tenfold.Response` for a hot handler."""
        return self._respond(self.status, self.headers, stream=self.body)

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Send) -> None:
        """Sends it; of a HEAD the headers only."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if scope.get("method") != "HEAD":
            async with contextlib.aclosing(self.body) as body:
                async for piece in body:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def answer_with(file: File, scope: Mapping[str, Any], respond: Respond, *, inline: bool, cache: str) -> FileAnswer:
    """The answer to the request of this ASGI scope."""
    kind: Literal["attachment", "inline"] = "inline" if inline and file.type in SHOWN else "attachment"
    shown_type = f"{file.type}; charset=utf-8" if file.type.startswith("text/") else file.type
    headers = [
        (b"content-type", shown_type.encode("ascii")),
        (b"content-disposition", disposition(kind, file.name)),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", ALONE),
        (b"cache-control", cache.encode("ascii")),
    ]
    header = lookup(scope.get("headers", []))
    return FileAnswer(file, answer(header, file.size, f'"{file.sha256[:32]}"', headers), respond)


async def _nothing() -> AsyncGenerator[bytes, None]:
    empty: tuple[bytes, ...] = ()
    for piece in empty:
        yield piece
