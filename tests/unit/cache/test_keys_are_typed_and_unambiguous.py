"""Templates are checked once; keys of different arguments never meet, in memory and as text."""

from __future__ import annotations

import enum
import traceback
from collections.abc import Callable, Hashable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.cache.keys import (
    INT_BITS_MAX,
    TEXT_MAX,
    KeyRefused,
    check_sizes,
    compile_functions,
    normal,
    shown,
    template_fields,
)
from tenfold.blocks.cache.watch import Watch
from tenfold.core.errors import ContractError


async def one(code: Any) -> None: ...
async def two(a: Any, b: Any) -> None: ...


def compiled(template: str, function: Callable[..., Any], miss: Any = None) -> tuple[Any, tuple[str, ...]]:
    fields = template_fields(template, function)
    given: dict[str, Any] = {
        "loader": function,
        "get": {}.get,
        "now": lambda: 0.0,
        "watch": Watch(),
        "look": None,
        "in_transaction": lambda: False,
        "refuse": None,
        "miss": miss,
        "late": None,
        "scope_of": lambda: None,
        "partial": lambda loader, *args, **kwargs: (args, kwargs),
        "normal": normal,
        "missing": None,
        "str": str,
    }
    return compile_functions(template, fields, function, **given), fields


def key_of(template: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Hashable:
    key = compiled(template, function)[0][0](*args, **kwargs)
    hash(key)
    return key  # type: ignore[no-any-return]


def same(value: Any) -> tuple[type, Any]:
    return (type(value), value)


ARGUMENTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["1", "a:b", "%3A", "~i1", "{b}", "~"]), st.integers(-3, 3), st.booleans(),
    st.none(), st.binary(max_size=4), st.uuids(), st.just(UUID(int=1)),
)  # fmt: skip


@given(left=st.tuples(ARGUMENTS, ARGUMENTS), right=st.tuples(ARGUMENTS, ARGUMENTS))
def test_two_argument_lists_share_a_key_only_when_they_are_the_same(
    left: tuple[Any, Any], right: tuple[Any, Any]
) -> None:
    functions, fields = compiled("x:{a}:{b}", two)
    keys = functions[0](*left), functions[0](*right)
    alike = list(map(same, left)) == list(map(same, right))
    assert (keys[0] == keys[1]) is alike
    assert (shown("x:{a}:{b}", fields, keys[0]) == shown("x:{a}:{b}", fields, keys[1])) is alike


@given(left=ARGUMENTS, right=ARGUMENTS)
def test_one_argument_keys_are_as_typed_as_longer_ones(left: Any, right: Any) -> None:
    assert (key_of("x:{code}", one, left) == key_of("x:{code}", one, right)) is (same(left) == same(right))


def test_one_and_text_one_and_true_are_three_keys() -> None:
    assert len({key_of("x:{code}", one, value) for value in (1, "1", True, b"1")}) == 4


def test_a_colon_inside_a_value_does_not_move_the_border() -> None:
    assert key_of("x:{a}:{b}", two, "a:b", "c") != key_of("x:{a}:{b}", two, "a", "b:c")
    assert shown("x:{a}:{b}", ("a", "b"), ("a:b", "c")) == "x:a%3Ab:c"


def test_an_enum_member_counts_as_its_plain_value() -> None:
    class Kind(enum.StrEnum):
        NEW = "new"

    class Level(enum.IntEnum):
        LOW = 1

    assert key_of("x:{code}", one, Kind.NEW) == key_of("x:{code}", one, "new")
    assert key_of("x:{code}", one, Level.LOW) == key_of("x:{code}", one, 1)


def test_the_order_of_the_template_and_keywords_do_not_matter_to_the_caller() -> None:
    assert key_of("x:{b}:{a}", two, a="1", b="2") == key_of("x:{b}:{a}", two, "1", "2") == ("2", "1")


def test_every_kind_of_parameter_keeps_its_meaning() -> None:
    async def loader(a: str, /, b: int = 2, *, c: str = "z") -> None: ...

    functions, _ = compiled("x:{a}:{b}:{c}", loader)
    key, peek, _, loading, _ = functions
    assert key("k") == ("k", 2, "z")
    assert loading("k", 3, c="y") == (("k", 3), {"c": "y"})
    with pytest.raises(TypeError):
        key(a="k")
    with pytest.raises(TypeError):
        peek()


def test_a_template_without_arguments_has_one_key() -> None:
    async def front() -> None: ...

    assert key_of("front-page", front) == ()
    assert shown("front-page", (), ()) == "front-page"


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("", "not valid"),
        ("{code}", "not valid"),
        ("x:{code}{code}", "not valid"),
        ("x:a{code}", "not valid"),
        ("x:{code!r}", "not valid"),
        ("x y:{code}", "not valid"),
        ("x:{cod}", "'cod'"),
        ("x", "'code'"),
        ("x:{code}:{code}", "twice"),
    ],
)
def test_a_wrong_template_is_refused_with_what_is_wrong(template: str, named: str) -> None:
    with pytest.raises(ContractError, match="TF-CACHE-TEMPLATE") as caught:
        template_fields(template, one)
    assert named in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["*args", "**rest", "_tf_code"])
def test_an_argument_that_cannot_be_named_in_a_key_is_refused(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"async def loader({name}): ...", namespace)
    with pytest.raises(ContractError, match="cannot be part of a key"):
        template_fields("x", namespace["loader"])


@pytest.mark.parametrize("value", [1.5, [1], {"a": 1}, object(), ("a",)])
def test_other_kinds_of_arguments_are_refused_by_name(value: Any) -> None:
    with pytest.raises(ContractError, match=type(value).__name__):
        key_of("x:{code}", one, value)


@pytest.mark.parametrize("value", ["x" * TEXT_MAX, b"x" * TEXT_MAX, 2**INT_BITS_MAX - 1, UUID(int=2**128 - 1), "é" * 9])
def test_values_up_to_the_limit_are_accepted(value: Any) -> None:
    check_sizes(("code",), key_of("x:{code}", one, value))


@pytest.mark.parametrize("value", ["x" * (TEXT_MAX + 1), b"x" * (TEXT_MAX + 1), 2**INT_BITS_MAX, -(2**INT_BITS_MAX)])
def test_longer_values_are_a_bad_request(value: Any) -> None:
    with pytest.raises(KeyRefused, match="too long") as caught:
        check_sizes(("code",), key_of("x:{code}", one, value))
    assert caught.value.status == 400


def test_a_lone_surrogate_does_not_break_the_text_of_a_key() -> None:
    assert shown("x:{code}", ("code",), "\ud800") == "x:%ED%A0%80"


def test_a_traceback_shows_the_compiled_line() -> None:
    functions, _ = compiled("x:{code}", one)
    try:
        functions[0]([])
    except ContractError as error:
        text = "".join(traceback.format_exception(error))
    assert "_tf_normal(code)" in text
    assert "<tenfold cache x:{code} of" in text
