"""Key templates such as `link:{code}`: checked once, then compiled into functions of the loader's own signature.

A key in this process is typed: 1, "1" and True are three keys, and values are never joined into one string, so that
("a:b", "c") and ("a", "b:c") cannot meet. `shown` gives the same key as text (messages, later the shared cache), with
everything but letters, digits, `_`, `.` and `-` escaped; it is as unambiguous as the key itself.
"""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Hashable
from types import FunctionType
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from tenfold.core.errors import ContractError, InvalidRequest

TEXT_MAX = 512
"""Characters of a str, bytes of a bytes argument that may be part of a key."""

INT_BITS_MAX = 128

_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
_LITERAL = re.compile(r"[A-Za-z0-9_.-]+")
_PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")
_PREFIX = "_tf_"
_HINT = "A key template is made of parts joined by ':', each a word or one {argument}, the first one a word."


class KeyRefused(InvalidRequest):
    """An argument is too long to be part of a cache key; nothing was looked up or loaded."""

    code = "TF-CACHE-KEY"
    title = "The value is too long"


def template_fields(template: str, function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arguments in `template`, in its order, checked against the arguments of `function`."""
    parts = template.split(":")
    fields = [match[1] for part in parts if (match := _PLACEHOLDER.fullmatch(part))]
    wrong = [part for part in parts if not (_LITERAL.fullmatch(part) or _PLACEHOLDER.fullmatch(part))]
    if wrong or not _LITERAL.fullmatch(parts[0]):
        raise _bad_template(f"The key template {template!r} is not valid at {(wrong or parts)[0]!r}.", _HINT)
    _match_arguments(template, fields, function)
    return tuple(fields)


def _match_arguments(template: str, fields: list[str], function: Callable[..., Any]) -> None:
    name = function.__qualname__
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name.startswith(_PREFIX):
            raise _bad_template(f"{name} takes {parameter}, which cannot be part of a key.", "Name each argument.")
    if unknown := [field for field in fields if field not in parameters]:
        raise _bad_template(
            f"The key template {template!r} names {unknown[0]!r}, which is no argument of {name}.",
            f"Its arguments are: {', '.join(parameters) or 'none'}.",
        )
    if missing := [parameter for parameter in parameters if parameter not in fields]:
        raise _bad_template(
            f"The argument {missing[0]!r} of {name} is not part of its key template {template!r}.",
            f"Two calls that differ only there would share a value: add {{{missing[0]}}} or drop the argument.",
        )
    if len(set(fields)) < len(fields):
        raise _bad_template(f"The key template {template!r} names an argument twice.", "Name each argument once.")


def _bad_template(message: str, hint: str) -> ContractError:
    return ContractError(message, hint=hint, code="TF-CACHE-TEMPLATE")


def normal(value: Any) -> Hashable:
    """The typed form of an argument that is not a plain str: equal only for equal values of the same kind."""
    if value is None or value.__class__ is int:
        return value
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, str):  # an enum member, say, counts as its text
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return (bytes, bytes(value))
    if isinstance(value, UUID):
        return (UUID, value.int)
    raise ContractError(
        f"A {type(value).__name__} cannot be part of a cache key.",
        hint="Arguments of cached functions are str, int, bytes, bool, UUID or None.",
        code="TF-CACHE-TEMPLATE",
    )


def _check_size(part: Hashable) -> None:
    plain = part[1] if isinstance(part, tuple) else part
    if isinstance(plain, (str, bytes)) and len(plain) > TEXT_MAX:
        raise KeyRefused(f"A value of {len(plain)} characters is too long for a key; {TEXT_MAX} are allowed.")
    if isinstance(plain, int) and plain.bit_length() > INT_BITS_MAX:
        raise KeyRefused(f"A number of more than {INT_BITS_MAX} bits is too long for a key.")


def parts_of(fields: tuple[str, ...], key: Hashable) -> tuple[Hashable, ...]:
    """The typed arguments inside a key that the compiled functions made."""
    return (key,) if len(fields) == 1 else key  # type: ignore[return-value]


def check_sizes(fields: tuple[str, ...], key: Hashable) -> None:
    """Raises `KeyRefused` when an argument is too long. Asked on a miss only: what is too long is never stored."""
    for part in parts_of(fields, key):
        _check_size(part)


def shown(template: str, fields: tuple[str, ...], key: Hashable) -> str:
    """The key as text: `link:aZ3`; numbers and other kinds are marked (`page:~i7`), so that 7 and "7" differ."""
    texts = dict(zip(fields, map(_part_text, parts_of(fields, key)), strict=True))
    return ":".join(texts[part[1:-1]] if part[0] == "{" else part for part in template.split(":"))


def filled(template: str, fields: tuple[str, ...], key: Hashable) -> str:
    """A template of a tag with the arguments of a key in it: `shop:{shop}` is `shop:7`, for 7 and for "7".

    Characters that a tag cannot have are escaped with '.', so that tags of different arguments stay different.
    """
    made = template
    for field, part in zip(fields, parts_of(fields, key), strict=True):
        plain = part[1] if isinstance(part, tuple) else part
        text = plain.hex() if isinstance(plain, bytes) else str(plain)
        escaped = quote(text, safe="").replace(".", "%2E").replace("~", "%7E")
        made = made.replace(f"{{{field}}}", escaped.replace("%", "."))
    return made


def read_back(template: str, fields: tuple[str, ...], text: str) -> Hashable:
    """The key that `shown` gave this text for; ValueError for what it never gives."""
    parts = zip(template.split(":"), text.split(":"), strict=True)
    values = {part[1:-1]: _part_of(shown_as) for part, shown_as in parts if part[0] == "{"}
    key = tuple(values[field] for field in fields)
    return key[0] if len(key) == 1 else key


def _part_of(text: str) -> Hashable:
    if text[:1] != "~":
        return unquote(text, errors="surrogatepass")
    kind, value = text[1:2], text[2:]
    made: dict[str, Callable[[], Hashable]] = {
        "n": lambda: None,
        "i": lambda: int(value),
        "b": lambda: (bool, value == "1"),
        "u": lambda: (UUID, int(value, 16)),
        "x": lambda: (bytes, bytes.fromhex(value)),
    }
    if kind not in made:
        raise ValueError(f"{text!r} is no part of a key")
    return made[kind]()


def _part_text(part: Hashable) -> str:
    if isinstance(part, str):
        if _PLAIN.fullmatch(part):
            return part
        return quote(part, safe="", errors="surrogatepass").replace("~", "%7E")
    if part is None:
        return "~n"
    if isinstance(part, tuple):
        kind, value = part
        return {bool: f"~b{value:d}", UUID: f"~u{value:032x}"}[kind] if kind is not bytes else f"~x{value.hex()}"
    return f"~i{part}"


_SOURCE = """\
def make(_tf_loader, _tf_get, _tf_now, _tf_watch, _tf_look, _tf_in_transaction, _tf_refuse, _tf_miss, _tf_late,
         _tf_scope_of, _tf_partial, _tf_normal, _tf_missing, _tf_str{defaults}):
    _tf_hits = 0
    def key({parameters}):
        return {key}
    def peek({parameters}):
        nonlocal _tf_hits
        _tf_time = _tf_now()
        if _tf_time >= _tf_watch.until:
            _tf_look(_tf_time)
        _tf_entry = _tf_get({key})
        if _tf_entry is None:
            return _tf_missing
        if _tf_entry.expires <= _tf_time:
            return _tf_late(_tf_entry, _tf_time)
        _tf_entry.visited = True
        _tf_hits += 1
        _tf_scope = _tf_scope_of()
        if _tf_scope is not None:
            _tf_scope.cache_hits += 1
        return _tf_entry.value
    async def read({parameters}):
        nonlocal _tf_hits
        if _tf_in_transaction():
            _tf_refuse()
        _tf_time = _tf_now()
        if _tf_time >= _tf_watch.until:
            _tf_look(_tf_time)
        _tf_key = {key}
        _tf_entry = _tf_get(_tf_key)
        if _tf_entry is not None and _tf_entry.expires > _tf_time:
            _tf_entry.visited = True
            _tf_hits += 1
            _tf_scope = _tf_scope_of()
            if _tf_scope is not None:
                _tf_scope.cache_hits += 1
            return _tf_entry.value
        return await _tf_miss(_tf_key, _tf_partial(_tf_loader, {arguments}))
    def loading({parameters}):
        return _tf_partial(_tf_loader, {arguments})
    def hits():
        return _tf_hits
    return key, peek, read, loading, hits
"""


def compile_functions(
    template: str, fields: tuple[str, ...], function: Callable[..., Any], **given: Any
) -> tuple[FunctionType, FunctionType, FunctionType, FunctionType, FunctionType]:
    """`key`, `peek`, `read`, `loading` and `hits` for a loader; the first four take the loader's own arguments.

    They are compiled from source, as dataclasses are: a call through `*args` and a signature's `bind` costs
    microseconds, a compiled one tens of nanoseconds. Only checked names of arguments are put into the source; defaults
    are handed over as values.
    """
    parameters = inspect.signature(function).parameters.values()
    defaults = {f"{_PREFIX}default_{p.name}": p.default for p in parameters if p.default is not p.empty}
    source = _SOURCE.format(
        defaults="".join(f", {name}" for name in defaults),
        parameters=_parameter_list(list(parameters)),
        key=_key_expression(fields),
        arguments=", ".join(f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else p.name for p in parameters),
    )
    filename = f"<tenfold cache {template} of {function.__module__}.{function.__qualname__}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)  # for tracebacks
    namespace: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102 - the source holds checked identifiers only
    made = {f"{_PREFIX}{name}": value for name, value in given.items()}
    return namespace["make"](**made, **defaults)  # type: ignore[no-any-return]


def _key_expression(fields: tuple[str, ...]) -> str:
    each = [f"({name} if {name}.__class__ is _tf_str else _tf_normal({name}))" for name in fields]
    return each[0] if len(each) == 1 else f"({''.join(f'{one}, ' for one in each)})"


def _parameter_list(parameters: list[inspect.Parameter]) -> str:
    written: list[str] = []
    for index, parameter in enumerate(parameters):
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        default = "" if parameter.default is parameter.empty else f"={_PREFIX}default_{parameter.name}"
        written.append(f"{parameter.name}{default}")
        following = parameters[index + 1].kind if index + 1 < len(parameters) else None
        if parameter.kind is parameter.POSITIONAL_ONLY and following is not parameter.POSITIONAL_ONLY:
            written.append("/")
    return ", ".join(written)
