"""What the scopes of every backend share: which statement may run here, and what one, some and no rows mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenfold.blocks.database.backend import ROWS_LIMIT
from tenfold.blocks.database.keys import HOME_BUCKET, bucket_of
from tenfold.blocks.database.policy import Scope, check_keys, refusal
from tenfold.blocks.database.rows import RowMaker
from tenfold.blocks.database.statement import Plan, Plans
from tenfold.core.errors import ContractError, NotFound

_NOT_JUDGED = ContractError("This plan has not been judged yet.")


class Access:
    """Finding the plan of a statement, and refusing those that may not run in this scope."""

    __slots__ = ("_keys", "_plans", "_scope")

    def __init__(self, plans: Plans, scope: Scope, keys: tuple[Any, ...] | None) -> None:
        self._plans = plans
        self._scope = scope
        self._keys = keys

    @property
    def bucket(self) -> int:
        """The hash slot of the scope's first key; of the home shard without one."""
        return bucket_of(self._keys[0]) if self._keys else HOME_BUCKET

    def _plan(self, statement: Any, params: Mapping[str, Any]) -> Plan:
        plan = self._plans.get(statement, params)
        refused = plan.judged.get(self._scope, _NOT_JUDGED)
        if refused is _NOT_JUDGED:
            refused = plan.judged[self._scope] = refusal(statement, plan, self._scope)
        if refused is not None:
            raise ContractError(refused.message, hint=refused.hint, code=refused.code)
        keys = self._keys
        if keys is not None and not (len(plan.pins) == 1 and len(keys) == 1 and plan.pins[0].read(params) == keys[0]):
            check_keys(plan, params, keys)
        return plan


def maker(plan: Plan) -> RowMaker:
    """What makes rows of this plan; TF-STMT-6 when it returns none."""
    if plan.make is None:
        raise ContractError("This statement returns no rows.", hint="Use run(), or add RETURNING.", code="TF-STMT-6")
    return plan.make


def exactly_one(rows: list[Any]) -> Any:
    """The one row; `NotFound` when there is none."""
    row = at_most_one(rows)
    if row is None:
        raise NotFound("There is no such row.", code="TF-NO-ROW")
    return row


def at_most_one(rows: list[Any]) -> Any:
    """The one row, or None; TF-STMT-4 when there are several."""
    if len(rows) > 1:
        raise ContractError("Several rows came where one was asked for.", hint="Use all().", code="TF-STMT-4")
    return rows[0] if rows else None


def bounded(rows: list[Any]) -> list[Any]:
    """The rows, unless they are more than `ROWS_LIMIT`."""
    if len(rows) > ROWS_LIMIT:
        raise ContractError(
            f"More than {ROWS_LIMIT:,} rows came.",
            hint="Page through them with LIMIT and the last key.",
            code="TF-STMT-5",
        )
    return rows


def over(what: str) -> ContractError:
    """The error for a scope that is used after its end."""
    return ContractError(what, hint="Use it inside its block only.", code="TF-TX-5")


def swallowed(name: str, error: BaseException) -> ContractError:
    """The error of a body that went on after one of its statements had failed."""
    return ContractError(
        f"{name} went on after a statement had failed ({error}).",
        hint="A failed statement ends its transaction, on every database: let the error out, and decide outside.",
        code="TF-TX-3",
    )
