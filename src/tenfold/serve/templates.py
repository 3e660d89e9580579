"""Path templates: a path whose segments are either literal or one `{name}`, as in `/albums/{id}/photos`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from tenfold.core.errors import ContractError

T = TypeVar("T")

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Template(Generic[T]):
    """One compiled template, and what it stands for. `what` names it in the `ContractError` when it cannot work."""

    __slots__ = ("_literals", "_names", "literal_count", "names", "value")

    def __init__(self, template: str, value: T, what: str) -> None:
        self._literals, self._names = _parse(template, what)
        self.value = value
        self.literal_count = len(self._literals)
        self.names = [name for _, name in self._names]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The values of the placeholders, or None; an empty segment matches no placeholder."""
        for position, literal in self._literals:
            if segments[position] != literal:
                return None
        values = {}
        for position, name in self._names:
            value = segments[position]
            if not value:
                return None
            values[name] = value
        return values


class Templates(Generic[T]):
    """Finds what a path stands for: literal paths first, then templates with the same number of segments, the most
    literal ones first."""

    def __init__(self, values: Mapping[str, T], what: str) -> None:
        self._exact: dict[str, T] = {}
        self._by_slashes: dict[int, list[Template[T]]] = {}
        for text, value in values.items():
            template = Template(text, value, what)
            if template.names:
                self._by_slashes.setdefault(text.count("/"), []).append(template)
            else:
                self._exact[text] = value
        for candidates in self._by_slashes.values():
            candidates.sort(key=lambda template: -template.literal_count)

    def find(self, path: str) -> tuple[T, dict[str, str]] | None:
        """The value and the path's parameters, or None."""
        value = self._exact.get(path)
        if value is not None:
            return value, {}
        candidates = self._by_slashes.get(path.count("/"))
        if candidates is None:
            return None
        segments = path.split("/")
        for template in candidates:
            values = template.match(segments)
            if values is not None:
                return template.value, values
        return None


def _parse(template: str, what: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Positions and texts of the literal segments; positions and names of the placeholders."""
    if not template.startswith("/"):
        raise ContractError(f'The {what} "{template}" does not start with "/".', hint='Write it as "/{code}".')
    literals: list[tuple[int, str]] = []
    names: list[tuple[int, str]] = []
    for position, segment in enumerate(template.split("/")):
        placeholder = _PLACEHOLDER.fullmatch(segment)
        if placeholder:
            names.append((position, placeholder[1]))
        elif "{" in segment or "}" in segment:
            raise ContractError(
                f'The {what} "{template}" has "{segment}", which is neither a literal nor one placeholder.',
                hint='A placeholder fills a whole segment, as in "/users/{id}"; leave other paths to the framework.',
            )
        elif position:
            literals.append((position, segment))
    if len({name for _, name in names}) != len(names):
        raise ContractError(f'The {what} "{template}" uses a name twice.', hint="Give each placeholder its own name.")
    return literals, names
