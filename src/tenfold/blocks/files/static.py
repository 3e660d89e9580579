"""Static files under URLs that name their content, so that browsers and edges may keep them for ever.

`/static/site.3f2a91bc5d7e8f01.css` never changes and is kept for a year; `/static/site.css` is the same file for who
knows only its name, asked for anew after a minute. A URL with a hash stays valid over a deploy, in both directions: the
contents lie in a folder that all processes of the deployment share (published.py).
"""

from __future__ import annotations

import asyncio
import difflib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Protocol

from tenfold.blocks.files import disk, http, names
from tenfold.blocks.files.assets import CODINGS, HELD_BYTES, HELD_FILE, Asset, scan
from tenfold.blocks.files.published import Published
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError

FOR_EVER = b"public, max-age=31536000, immutable"
A_MINUTE = b"public, max-age=60"
DEPTH = 8
"""Folders within folders that hot routes reach."""
OTHERS_KEPT = 256
"""Contents of other versions of the code that are held in memory, as far as `HELD_BYTES` suffice."""


class Asked(Protocol):
    """What a handler needs to know of a request; `tenfold.Request` is one."""

    @property
    def path(self) -> str:
        """The decoded path."""
        ...

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first header of that name."""
        ...


class Respond(Protocol):
    """Makes a complete response; with `stream`, of these pieces. `tenfold.Response` is one."""

    def __call__(
        self, status: int, headers: http.Headers, body: bytes = b"", stream: AsyncGenerator[bytes, None] | None = None
    ) -> Any:
        """The response."""
        ...


class Static:
    """The files of one folder under one prefix. Made by `tf.files.static`, at import time.

    Every file is read and hashed once, then: a change on the disk shows in the next process. Not served are names that
    begin with a dot and links that lead out of the folder.
    """

    def __init__(self, folder: Path, prefix: str, clock: Clock, respond: Respond) -> None:
        if not names.is_prefix(prefix):
            raise ContractError(
                f"The prefix {prefix!r} of static files is not allowed.",
                hint='Write "/static".',
                code="TF-FILES-FOLDER",
            )
        self.prefix = prefix
        self._clock = clock
        self._respond = respond
        self._assets = scan(folder)
        self._urls: dict[str, str] = {}
        self._known: dict[str, tuple[Asset, bool]] = {}
        self._by_hash: dict[str, Asset] = {}
        for name, asset in self._assets.items():
            long = f"{prefix}/{names.hashed(name, asset.digest)}"
            self._urls[name] = names.url_path(long)
            self._known[f"{prefix}/{name}"] = asset, False
            self._known[long] = asset, True
            self._by_hash[asset.kept_as] = asset
        self._others: OrderedDict[str, Asset] = OrderedDict()
        self._published: Published | None = None

    def url(self, name: str) -> str:
        """The URL of a file, with the hash of its content: `url("site.css")`.

        `ContractError` (TF-FILES-NAME) when there is no such file; call it at import time, and a wrong name shows then.
        """
        try:
            return self._urls[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._urls, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"There are {len(self._urls)} files."
            raise ContractError(f"There is no static file {name!r}.", hint=hint, code="TF-FILES-NAME") from None

    @property
    def routes(self) -> dict[str, Callable[..., Any]]:
        """For `tf.asgi(app, hot={**static.routes, ...})`: everything below the prefix, eight folders deep."""
        segments = [f"{{s{number}}}" for number in range(1, DEPTH + 1)]
        return {"/".join([self.prefix, *segments[:depth]]): self.handler for depth in range(1, DEPTH + 1)}

    def handler(self, request: Asked, /, **_: str) -> Any:
        """The answer to a GET or HEAD below the prefix: 200, 206, 304, 404 or 416. What is in memory is answered at
        once, the rest by an awaitable."""
        path = request.path
        found = self._known.get(path)
        if found is not None:
            return self._answer(request, *found)
        wanted = names.wanted(path) if path.startswith(f"{self.prefix}/") else None
        if wanted is None:
            return self._missing()
        name = wanted.hash + wanted.extension
        known = self._by_hash.get(name) or self._others.get(name)
        return self._answer(request, known, True) if known is not None else self._from_others(request, name)

    def publish(self, published: Published) -> None:
        """Makes the encoded forms, and puts all contents where other processes find them. It blocks on the disk."""
        now_s = self._clock.wall_us() / 1e6
        for asset in self._assets.values():
            asset.squeeze()
            published.put(asset.contents(), now_s)
        self._published = published

    def _answer(self, request: Asked, asset: Asset, long: bool) -> Any:
        header = request.header
        coding = self._coding(request, asset)
        etag = f'"{asset.digest[: names.HASH_CHARS]}{"-" + coding if coding else ""}"'
        if header("range") is None and asset.data is not None:
            status = 304 if http.matches(header("if-none-match"), etag) else 200
            kept = asset.answers.get((coding, long, status))
            if kept is not None:
                return kept
        body = asset.coded[coding] if coding else asset.data
        size = asset.size if body is None else len(body)
        answer = http.answer(header, size, etag, _headers(asset, coding, long))
        if body is None:
            return self._from_disk(asset, answer)
        part = b"" if answer.span is None else body[answer.span.start : answer.span.stop]
        response = self._respond(answer.status, answer.headers, part)
        if answer.status in (200, 304):
            asset.answers[coding, long, answer.status] = response
        return response

    @staticmethod
    def _coding(request: Asked, asset: Asset) -> str:
        if not asset.coded or request.header("range") is not None:
            return ""
        accepted = request.header("accept-encoding")
        return next((each for each in CODINGS if each in asset.coded and http.accepts(accepted, each)), "")

    def _missing(self) -> Any:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        return self._respond(404, headers, b"There is no such file.\n")

    async def _from_others(self, request: Asked, name: str) -> Any:
        """The content of another version of the code."""
        asset = await asyncio.to_thread(self._load, name)
        if asset is None:
            return self._missing()
        self._others[name] = asset
        while len(self._others) > OTHERS_KEPT or sum(each.held for each in self._others.values()) > HELD_BYTES:
            self._others.popitem(last=False)
        return self._answer(request, asset, True)

    def _load(self, name: str) -> Asset | None:
        published = self._published
        path = published.find(name) if published is not None else None
        if published is None or path is None:
            return None
        try:
            published.touch(name, self._clock.wall_us() / 1e6)
            size = path.stat().st_size
            data = path.read_bytes() if size <= HELD_FILE else None
            coded = {
                coding: other.read_bytes()
                for coding, extension in CODINGS.items()
                if data is not None and (other := published.find(name + extension)) is not None
            }
        except OSError:  # it was removed just now
            return None
        stem, extension = names.split(name)
        return Asset(name, stem, size, names.content_type(extension), path, data, coded)

    def _from_disk(self, asset: Asset, answer: http.Answer) -> Any:
        if answer.span is None:
            return self._respond(answer.status, answer.headers)
        kept = self._published.find(asset.kept_as) if self._published is not None else None
        headers = [*answer.headers, (b"content-length", b"%d" % answer.span.size)]
        return self._respond(answer.status, headers, stream=disk.pieces(kept or asset.path, answer.span))


def _headers(asset: Asset, coding: str, long: bool) -> http.Headers:
    headers = [
        (b"content-type", asset.kind.encode("ascii")),
        (b"cache-control", FOR_EVER if long else A_MINUTE),
        (b"x-content-type-options", b"nosniff"),
    ]
    if asset.coded:
        headers.append((b"vary", b"accept-encoding"))
    if coding:
        headers.append((b"content-encoding", coding.encode("ascii")))
    return headers
