"""Forms with files (multipart/form-data, RFC 7578): fields into memory, files into the store as they come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.blocks.files.uploads import File, Upload
from tenfold.core.errors import InvalidRequest

PARTS_MAX = 100
FIELD_MAX = 64 * 1024
"""Bytes of a field that is no file."""
BOUNDARY_MAX = 70
"""Characters of the boundary between parts (RFC 2046)."""

_EVENTS = ("part_begin", "header_end", "headers_finished", "part_end", "end")
_DATA_EVENTS = ("part_data", "header_field", "header_value")

Receive = Callable[[], Awaitable[Any]]
Begin = Callable[[str], Awaitable[Upload]]
"""Begins an upload of that name."""


class FormRefused(InvalidRequest):
    """The body is no form that can be read; nothing of it was kept."""

    code = "TF-FILES-FORM"
    title = "The form cannot be read"


@dataclass(slots=True)
class Form:
    """What a form brought: the texts of its fields, and its files, by the names of the fields, in their order."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[File]] = field(default_factory=dict)

    def value(self, name: str, default: str | None = None) -> str | None:
        """The first text of a field."""
        return next(iter(self.fields.get(name, ())), default)

    def file(self, name: str) -> File | None:
        """The first file of a field."""
        return next(iter(self.files.get(name, ())), None)

    def all_files(self) -> list[File]:
        """All files of the form."""
        return [file for files in self.files.values() for file in files]


class _Part:
    """A part under way: its headers, the header under way, and its content."""

    __slots__ = ("data", "headers", "key", "name", "upload", "value")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.key = self.value = b""
        self.name = ""
        self.data = bytearray()
        self.upload: Upload | None = None


class FormReader:
    """Reads one form. The parser only notes what it found; it is acted on after each piece of the body, so that the
    client is read no faster than the store takes it."""

    def __init__(self, content_type: str, begin: Begin) -> None:
        # Imported where it is used: few processes read forms, and all of them start.
        from python_multipart import exceptions, multipart  # noqa: PLC0415

        self.form = Form()
        self.made: list[File] = []
        """The files of the form that were not there before it: those that go when it is refused."""
        self._begin = begin
        self._options = multipart.parse_options_header
        self._malformed = exceptions.FormParserError
        self._noted: list[tuple[str, bytes]] = []
        self._part = _Part()
        self._parts = 0
        self._complete = False
        callbacks: Any = {f"on_{name}": self._note(name) for name in _EVENTS}
        callbacks |= {f"on_{name}": self._note_data(name) for name in _DATA_EVENTS}
        self._parser = multipart.MultipartParser(self._boundary(content_type), callbacks)

    async def read(self, receive: Receive) -> Form:
        """Reads to the end: `FormRefused`, and the errors of uploads. Then nothing of the file under way stays; those
        before it are in `form` and `made`."""
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise FormRefused("The client left before the form was complete.")
                more = message.get("more_body", False)
                self._parse(message.get("body", b""))
                await self._act()
            if not self._complete:
                raise FormRefused("The form ends in the middle.")
            return self.form
        except BaseException:
            if self._part.upload is not None:
                await self._part.upload.abort()
            raise

    def _boundary(self, content_type: str) -> bytes:
        kind, options = self._options(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= BOUNDARY_MAX:
            hint = 'Send the form with enctype="multipart/form-data".'
            raise FormRefused("The body is no multipart/form-data.", hint=hint, status=415)
        return boundary

    def _note(self, name: str) -> Callable[[], None]:
        return lambda: self._noted.append((name, b""))

    def _note_data(self, name: str) -> Callable[[bytes, int, int], None]:
        return lambda data, start, end: self._noted.append((name, data[start:end]))

    def _parse(self, body: bytes) -> None:
        try:
            self._parser.write(body)
        except self._malformed as error:
            raise FormRefused(f"The form is malformed: {str(error).rstrip('.')}.") from None

    async def _act(self) -> None:
        noted, self._noted = self._noted, []
        for name, data in noted:
            if name == "part_data":
                await self._data(data)
            elif name == "headers_finished":
                await self._headers_finished()
            elif name == "part_end":
                await self._part_end()
            else:
                self._head(name, data)

    def _head(self, name: str, data: bytes) -> None:
        part = self._part
        if name == "part_begin":
            self._begin_part()
        elif name == "header_field":
            part.key += data
        elif name == "header_value":
            part.value += data
        elif name == "header_end":
            part.headers[part.key.lower()] = part.value
            part.key = part.value = b""
        else:
            self._complete = True

    def _begin_part(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise FormRefused(f"The form has more than {PARTS_MAX} parts.", status=413)

    async def _headers_finished(self) -> None:
        kind, options = self._options(self._part.headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise FormRefused("A part of the form has no name.")
        self._part.name = name.decode("utf-8", "replace")
        sent_as = options.get(b"filename")
        if sent_as:  # an empty one is an empty file field of a browser's form
            self._part.upload = await self._begin(sent_as.decode("utf-8", "replace"))

    async def _data(self, data: bytes) -> None:
        if self._part.upload is not None:
            await self._part.upload.write(data)
            return
        self._part.data += data
        if len(self._part.data) > FIELD_MAX:
            raise FormRefused(f"A field of the form has more than {FIELD_MAX:,} bytes.", status=413)

    async def _part_end(self) -> None:
        part = self._part
        if part.upload is not None:
            file = await part.upload.finish()
            self.form.files.setdefault(part.name, []).append(file)
            if not part.upload.repeated:
                self.made.append(file)
        elif b"filename" not in self._options(part.headers[b"content-disposition"])[1]:
            self.form.fields.setdefault(part.name, []).append(part.data.decode("utf-8", "replace"))


def header_of(scope: Mapping[str, Any], name: bytes) -> str:
    """A header of an ASGI scope; empty without it."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
