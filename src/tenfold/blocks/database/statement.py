"""Statements, compiled once: SQL text, parameter binding, row making, key proof.

A plan belongs to one statement object, one dialect and one set of parameter names. What SQLAlchemy would add at run
time is kept: Python-side `default` and `onupdate` (`insert_prefetch`, `update_prefetch`) and expanding IN lists.
What cannot be kept is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Values
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import BindParameter, Column, CompoundSelect, Delete, Insert, Select, Sequence, Table, Update
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler

from tenfold.blocks.database.keys import bucket_of
from tenfold.blocks.database.proof import Footprint, Pin, footprint, raw_text
from tenfold.blocks.database.rows import RowMaker, row_maker
from tenfold.blocks.database.tables import BUCKET_COLUMN, home_of, key_column
from tenfold.core.errors import ContractError

PLANS_KEPT = 2_000
"""Statements in memory at most; those built anew for each call push the oldest out and are slow."""

VARIANTS_KEPT = 100
"""Sets of parameter names of one statement in memory at most."""

Parameters = Mapping[str, Any]
Binder = Callable[[Parameters], Values[Any]]
Expander = Callable[[Parameters], tuple[str, Values[Any]]]


@dataclass(slots=True)
class Plan:
    """A compiled statement.

    `sql` and `bind(params)` are what the driver takes; `expand(params)` gives both when the statement has IN lists.
    `make` turns a driver row into ours, None when the statement returns no rows. `pins` are the key's sources.
    """

    sql: str
    bind: Binder
    expand: Expander | None
    make: RowMaker | None
    writes: bool
    footprint: Footprint
    pins: tuple[Pin, ...]
    judged: dict[Any, ContractError | None] = field(default_factory=dict)
    """By scope: why this plan may not run there."""
    kept: Any = None
    """What a backend keeps beside the plan; its own."""
    counts: bool = False
    """Whether each run touches exactly one row: an INSERT without IN lists."""


class Plans:
    """The plans of one dialect. Not thread-safe: used on the loop."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._plans: dict[Any, dict[tuple[str, ...], Plan]] = {}

    def get(self, statement: Any, params: Mapping[str, Any]) -> Plan:
        """The plan for a statement run with these parameter names."""
        names = tuple(params)
        try:
            return self._plans[statement][names]
        except (KeyError, TypeError):
            return self._made(statement, names)

    def _made(self, statement: Any, names: tuple[str, ...]) -> Plan:
        plan = compile_plan(statement, names, self._dialect)
        if len(self._plans) >= PLANS_KEPT and statement not in self._plans:
            self._plans.pop(next(iter(self._plans)))
        variants = self._plans.setdefault(statement, {})
        if len(variants) >= VARIANTS_KEPT:
            variants.clear()
        variants[names] = plan
        return plan


def compile_plan(statement: Any, names: tuple[str, ...], dialect: Dialect) -> Plan:
    """Compiles and proves a statement; `ContractError` names what is not allowed."""
    if not isinstance(statement, Select | CompoundSelect | Insert | Update | Delete):
        raise _refused(
            f"a {type(statement).__name__} was given",
            "Statements are SQLAlchemy Core: select, insert, update, delete. text() cannot be proven to keep its key.",
            "TF-KEY-3",
        )
    _refuse_dialect_parts(statement)
    try:
        return _compiled_plan(statement, names, dialect)
    except SQLAlchemyError as error:
        raise _refused(f"SQLAlchemy cannot compile it ({error})", "Correct the statement.", "TF-STMT-3") from error


def _compiled_plan(statement: Any, names: tuple[str, ...], dialect: Dialect) -> Plan:
    touched = footprint(statement)
    _refuse_raw_text(statement, touched)
    if isinstance(statement, Insert | Update):
        touched = _checked_write(statement, names, touched)
    if isinstance(statement, Insert) and isinstance(statement.table, Table):
        _refuse_counting(statement.table)
    explicit = _explicit_names(statement)
    column_names = [name for name in names if name not in explicit]
    _check_names(statement, names, explicit, column_names)
    compiled = _compile(statement, column_names, touched, dialect)
    return _plan(statement, compiled, touched, dialect)


def _compile(statement: Any, column_names: list[str], touched: Footprint, dialect: Dialect) -> SQLCompiler:
    keys = column_names
    if isinstance(statement, Insert) and touched.target in touched.sharded:
        keys = [*column_names, BUCKET_COLUMN]
    takes_columns = isinstance(statement, Insert | Update)
    compiled = statement.compile(dialect=dialect, column_keys=keys if takes_columns else None)
    assert isinstance(compiled, SQLCompiler), "every statement kind compiles to SQL"
    return compiled


def _plan(statement: Any, compiled: SQLCompiler, touched: Footprint, dialect: Dialect) -> Plan:
    columns = _result_columns(statement)
    make = row_maker(columns, dialect) if columns else None
    fill = _fillers(statement, compiled, touched)
    writes = not isinstance(statement, Select | CompoundSelect)
    binds = compiled.binds.values()
    if any(bind.expanding for bind in binds):
        expand = _expander(compiled, fill, dialect)
        return Plan("", _no_bind, expand, make=make, writes=writes, footprint=touched, pins=touched.pins)
    bind = _binder(compiled, fill, dialect)
    counts = isinstance(statement, Insert)
    return Plan(compiled.string, bind, None, make, writes, touched, touched.pins, counts=counts)


def _no_bind(params: Parameters) -> Values[Any]:
    raise AssertionError("a statement with IN lists is expanded, not bound")


# -- binding ----------------------------------------------------------------------------------------------------------

Getter = Callable[[Parameters], Any]


def _processor(bind: BindParameter[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return bind.type.dialect_impl(dialect).bind_processor(dialect)


def _getter(name: str, compiled: SQLCompiler, fill: dict[str, Getter], dialect: Dialect) -> Getter:
    bind = compiled.binds[name]
    process = _processor(bind, dialect)
    if name in fill:
        made = fill[name]
        return made if process is None else lambda params: process(made(params))
    if bind.unique:
        constant = bind.value if process is None else process(bind.value)
        return lambda params: constant
    return _given(bind, process)


def _given(bind: BindParameter[Any], process: Callable[[Any], Any] | None) -> Getter:
    key, default = bind.key, bind.value
    if default is not None:
        return lambda params: (process or _same)(params.get(key, default))
    if process is None:
        return lambda params: params[key]
    return lambda params: process(params[key])


def _same(value: Any) -> Any:
    return value


def _binder(compiled: SQLCompiler, fill: dict[str, Getter], dialect: Dialect) -> Binder:
    getters = [_getter(name, compiled, fill, dialect) for name in compiled.positiontup or ()]
    if len(getters) == 1:
        only = getters[0]
        return lambda params: (only(params),)
    return lambda params: [get(params) for get in getters]


def _expander(compiled: SQLCompiler, fill: dict[str, Getter], dialect: Dialect) -> Expander:
    processors = {name: _processor(bind, dialect) for name, bind in compiled.binds.items()}

    def expand(params: Parameters) -> tuple[str, Values[Any]]:
        given = dict(params)
        for name, get in fill.items():
            given[name] = get(params)
        state = compiled.construct_expanded_state(compiled.construct_params(given))
        values = state.parameters
        origin = {part: name for name, parts in state.parameter_expansion.items() for part in parts}
        ordered = []
        for name in state.positiontup or ():
            process = processors.get(origin.get(name, name))
            ordered.append(values[name] if process is None else process(values[name]))
        return state.statement, ordered

    return expand


def _fillers(statement: Any, compiled: SQLCompiler, touched: Footprint) -> dict[str, Getter]:
    """What is computed per run: Python-side defaults, and the bucket of the key."""
    fill: dict[str, Getter] = {}
    columns: Values[Column[Any]] = ()
    if isinstance(statement, Insert):
        columns = compiled.insert_prefetch
    elif isinstance(statement, Update):
        columns = compiled.update_prefetch
    for column in columns:
        default = column.default if isinstance(statement, Insert) else column.onupdate
        fill[column.key] = _default(column, default)
    if isinstance(statement, Insert) and touched.target in touched.sharded:
        read = touched.pins[0].read
        fill[BUCKET_COLUMN] = lambda params: bucket_of(read(params))
    return fill


class _NoContext:
    """Stands for SQLAlchemy's execution context in a default function; we have none to give."""

    def __getattr__(self, name: str) -> Any:
        raise _refused(
            f"a column default asked for the execution context ({name})",
            "A default takes no argument; compute what depends on other columns before the statement.",
            "TF-STMT-3",
        )


def _default(column: Column[Any], default: Any) -> Getter:
    if getattr(default, "is_scalar", False):
        value = default.arg
        return lambda params: value
    if getattr(default, "is_callable", False):
        make = default.arg
        context = _NoContext()
        return lambda params: make(context)
    raise _refused(
        f"column {column.name!r} has a default of a kind that cannot be kept ({type(default).__name__})",
        "Use a plain value or a function without arguments.",
        "TF-STMT-3",
    )


def parameter_names(statement: Any) -> tuple[str, ...]:
    """The parameters of a statement that is not run yet: what its author named, and the columns of an open INSERT."""
    names = dict.fromkeys(_explicit_names(statement))
    if isinstance(statement, Insert) and isinstance(statement.table, Table):
        given = _given_values(statement)
        names.update(dict.fromkeys(c.key for c in statement.table.columns if c.key not in {*given, BUCKET_COLUMN}))
    return tuple(names)


def _refuse_counting(table: Table) -> None:
    """A sequence of the database: SQLite would leave the column empty without a word."""
    for column in table.columns:
        if isinstance(column.default, Sequence):
            raise _refused(
                f"column {column.name!r} counts with a sequence of the database",
                "Draw the number from `tf.ids.sequence(...)` and pass it.",
                "TF-STMT-3",
            )


# -- checks -----------------------------------------------------------------------------------------------------------


def _explicit_names(statement: Any) -> dict[str, bool]:
    """Names of the parameters that the author wrote with `bindparam`; True when a value must be given."""
    found: dict[str, bool] = {}
    defaults: dict[str, Any] = {}
    for element in visitors.iterate(statement):
        if not isinstance(element, BindParameter):
            continue
        if element.callable is not None:
            raise _refused("a bindparam with a callable was given", "Pass the value when you run it.", "TF-STMT-3")
        if element.unique:
            continue
        if defaults.setdefault(element.key, element.value) != element.value:
            raise _refused(f"bindparam {element.key!r} has two defaults", "Give it one, or two names.", "TF-STMT-1")
        found[element.key] = element.required or element.value is None
    return found


def _check_names(statement: Any, names: tuple[str, ...], explicit: dict[str, bool], columns: list[str]) -> None:
    missing = [name for name, required in explicit.items() if required and name not in names]
    table = getattr(statement, "table", None)
    known = set(table.c.keys()) if isinstance(table, Table) and isinstance(statement, Insert | Update) else set()
    unknown = [name for name in columns if name not in known]
    if missing or unknown:
        told = [f"missing: {', '.join(missing)}"] if missing else []
        told += [f"not known: {', '.join(unknown)}"] if unknown else []
        raise _refused(f"its parameters do not fit ({'; '.join(told)})", f"It reads: {_shown(statement)}.", "TF-STMT-1")


def _refuse_dialect_parts(statement: Any) -> None:
    """Parts that only one database understands, and that could change keys behind the proof."""
    if getattr(statement, "_post_values_clause", None) is not None:
        raise _refused(
            "ON CONFLICT is not portable", "Catch `Conflict` outside, or read before you write.", "TF-STMT-3"
        )
    if getattr(statement, "_prefixes", ()) or getattr(statement, "_suffixes", ()):
        raise _refused("it has a prefix or suffix of raw SQL", "Leave it out; it is not portable.", "TF-STMT-3")


def _checked_write(statement: Insert | Update, names: tuple[str, ...], touched: Footprint) -> Footprint:
    table = statement.table
    assert isinstance(table, Table), "the proof refuses anything else"
    given = _given_values(statement)
    if isinstance(statement, Insert):
        return _checked_insert(statement, table, given, names, touched)
    if home_of(table).kind == "sharded":
        _refuse_key_change(statement, table, given, names)
    return touched


def _given_values(statement: Insert | Update) -> dict[str, Any]:
    """Explicit `.values()` by column name. SQLAlchemy keeps them in `_values`; there is no public way to ask."""
    values = getattr(statement, "_values", None) or {}
    return {getattr(column, "key", str(column)): value for column, value in values.items()}


def _checked_insert(
    statement: Insert, table: Table, given: dict[str, Any], names: tuple[str, ...], touched: Footprint
) -> Footprint:
    if statement.select is not None or bool(getattr(statement, "_multi_values", False)):
        raise _refused(
            "an INSERT of several rows in one statement was given",
            "Use `tx.run_many(insert(table), rows)`.",
            "TF-STMT-2",
        )
    for column in table.primary_key.columns:
        if column.key not in given and column.key not in names and column.default is None:
            raise _refused(
                f"the INSERT into {table.name!r} gives no {column.key!r}",
                "The database does not count ids: draw one from `tf.ids` and pass it.",
                "TF-TABLE-2",
            )
    if home_of(table).kind != "sharded":
        return touched
    key = key_column(table)
    pin = _insert_pin(table, key, given, names)
    if BUCKET_COLUMN in given or BUCKET_COLUMN in names:
        raise _refused(
            f"the INSERT into {table.name!r} gives {BUCKET_COLUMN!r}",
            "Leave it out: it is computed from the key.",
            "TF-KEY-6",
        )
    return replace(touched, pins=(pin, *touched.pins))


def _insert_pin(table: Table, key: Column[Any], given: dict[str, Any], names: tuple[str, ...]) -> Pin:
    value = given.get(key.key)
    if isinstance(value, BindParameter):
        return Pin(None if value.unique else value.key, value.value)
    if value is None and key.key in names:
        return Pin(key.key)
    raise _refused(
        f"the INSERT into {table.name!r} does not give its key {key.name!r} as a parameter",
        f"Pass {key.name}=... when you run it.",
        "TF-KEY-1",
    )


def _refuse_key_change(statement: Update, table: Table, given: dict[str, Any], names: tuple[str, ...]) -> None:
    key = key_column(table).key
    explicit = _explicit_names(statement)
    changed = set(given) | {name for name in names if name not in explicit}
    if changed & {key, BUCKET_COLUMN}:
        raise _refused(
            f"the UPDATE changes the key {key!r} of {table.name!r}",
            "A key never changes: insert a row with the new key and delete the old one.",
            "TF-KEY-6",
        )


def _refuse_raw_text(statement: Any, touched: Footprint) -> None:
    written = raw_text(statement) if touched.sharded else None
    if written is not None:
        raise _refused(
            f"raw SQL ({written!r}) stands in a statement on a sharded table",
            "Write it with SQLAlchemy's expressions; raw text can undo the proof of the key.",
            "TF-KEY-3",
        )


def _result_columns(statement: Any) -> list[Any]:
    if isinstance(statement, Select | CompoundSelect):
        return list(statement.selected_columns)
    # `exported_columns` is remembered on the statement and copied into those made from it: `ADD.returning(...)` would
    # have none once `ADD` had been asked.
    return [column for returned in statement._returning for column in returned._select_iterable]


def _shown(statement: Any) -> str:
    text = " ".join(str(statement).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _refused(what: str, hint: str, code: str) -> ContractError:
    return ContractError(f"The statement is refused: {what}.", hint=hint, code=code)


def parameters_of(statement: Any) -> Iterator[str]:
    """The names of the parameters that a statement asks for; for `tenfold check`."""
    yield from _explicit_names(statement)
