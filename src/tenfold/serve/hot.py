"""Hot routes: paths that are answered without going through the framework.

    app = tf.asgi(app, hot={"/{code}": redirect})

A template is a path whose segments are either literal or one `{name}`. A handler is called with the request and the
segments by name; it returns a `Response`, or None to let the framework answer. A plain `def` handler is called directly
(no task, no thread), so it must not block. Only GET and HEAD are hot; other methods go to the framework.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final
from urllib.parse import quote

import msgspec

from tenfold.core.errors import ContractError
from tenfold.serve.templates import Template, Templates

_WHAT = "hot route"
_BODILESS = frozenset({204, 304})
_UNESCAPED = ":/%#?=@[]!$&'()*+,;~"


class Request:
    """What a hot handler sees of a request. Cheap: nothing is parsed before it is asked for."""

    __slots__ = ("_scope", "id")

    def __init__(self, scope: Mapping[str, Any], request_id: str = "") -> None:
        self._scope = scope
        self.id = request_id

    @property
    def method(self) -> str:
        """`GET` or `HEAD`."""
        method: str = self._scope["method"]
        return method

    @property
    def path(self) -> str:
        """The decoded path, `/` first."""
        path: str = self._scope["path"]
        return path

    @property
    def query_string(self) -> bytes:
        """What stands after `?`, undecoded."""
        query: bytes = self._scope.get("query_string", b"")
        return query

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer; None behind a unix socket."""
        client = self._scope.get("client")
        return (client[0], client[1]) if client else None

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first header of that name (any case), or `default`."""
        wanted = name.lower().encode("latin-1")
        for key, value in self._scope["headers"]:
            if key == wanted:
                text: str = value.decode("latin-1")
                return text
        return default


@final
class Response:
    """A complete response. It does not change, so a handler may keep one and return it again and again.

    `headers` are pairs of bytes with lower-case names; `content-length` is added. With `stream` the body is what that
    yields, `headers` say its length themselves, and the response serves one request. Headers that could break out of
    their line (CR, LF, NUL) are refused when the response is sent: the client gets a 500, the log a line.
    """

    __slots__ = ("body", "headers", "sendable", "status", "stream")

    def __init__(
        self,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        stream: AsyncGenerator[bytes, None] | None = None,
    ) -> None:
        complete = list(headers)
        self.stream = stream
        if status not in _BODILESS and stream is None:
            complete.append((b"content-length", b"%d" % len(body)))
        self.status = status
        self.headers = complete
        self.body = body
        self.sendable = False
        """Set by the middleware once it has checked the headers."""

    @classmethod
    def redirect(cls, url: str, status: int = 302, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
        """A redirect to `url`; characters that a header cannot carry are percent-encoded."""
        location = quote(url, safe=_UNESCAPED).encode("ascii")
        return cls(status, [(b"location", location), *headers])

    @classmethod
    def text(cls, text: str, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
        """Plain text in UTF-8."""
        return cls(status, [(b"content-type", b"text/plain; charset=utf-8"), *headers], text.encode())

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
        """Anything msgspec can encode: dicts, lists, dataclasses, Structs, datetimes, UUIDs."""
        return cls(status, [(b"content-type", b"application/json"), *headers], msgspec.json.encode(value))


Handler = Callable[..., Response | None] | Callable[..., Awaitable[Response | None]]


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A template with its handler."""

    template: str
    handler: Handler


class HotRoutes(Templates[HotRoute]):
    """Finds the hot route of a path. `ContractError` for a template or a handler that cannot work."""

    def __init__(self, routes: Mapping[str, Handler]) -> None:
        super().__init__({template: HotRoute(template, handler) for template, handler in routes.items()}, _WHAT)
        for template, handler in routes.items():
            _check_parameters(template, handler, Template(template, handler, _WHAT).names)


def _check_parameters(template: str, handler: Handler, names: list[str]) -> None:
    """A handler that cannot take the placeholders fails now rather than at the first request."""
    try:
        inspect.signature(handler).bind(None, **dict.fromkeys(names, ""))
    except TypeError as error:
        raise ContractError(
            f'The handler of the hot route "{template}" cannot be called with (request, {", ".join(names)}): {error}.',
            hint="Name its parameters like the placeholders of the template.",
        ) from None
