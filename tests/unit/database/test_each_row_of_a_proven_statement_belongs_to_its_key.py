from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from random_statements import TABLES
from sqlalchemy import (
    bindparam,
    delete,
    exists,
    func,
    insert,
    lateral,
    literal,
    or_,
    select,
    true,
    union,
    update,
    values,
)
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from tenfold.blocks.database.policy import Scope, refusal
from tenfold.blocks.database.statement import compile_plan, parameters_of
from tenfold.blocks.database.types import Decimal
from tenfold.core.errors import ContractError

DIALECT = SQLiteDialect_pysqlite(paramstyle="qmark")
a, b, r = TABLES
a2 = a.alias("a2")
P = bindparam("p")
own = a.c.k == P
joined = a.join(b, a.c.k == b.c.k)
left = a.outerjoin(b, a.c.k == b.c.k)

PROVEN: dict[str, Any] = {
    "equality in WHERE": select(a).where(own),
    "the other way round": select(a).where(a.c.k == P),
    "a constant": select(a).where(a.c.k == "x"),
    "with more terms": select(a).where(own, a.c.v > 3, or_(a.c.id == 1, a.c.id == 2)),
    "nested AND": select(a).where(sa.and_(true(), sa.and_(a.c.v == 1, own))),
    "inner join on the key": select(a, b).select_from(joined).where(own),
    "pinned on the other side": select(a, b).select_from(joined).where(b.c.k == P),
    "pinned in ON": select(a, b).select_from(a.join(b, sa.and_(a.c.k == b.c.k, own))),
    "comma join": select(a, b).where(own, a.c.k == b.c.k),
    "left join on the key": select(a, b).select_from(left).where(own),
    "left join pinned by the parameter": select(a, b).select_from(a.outerjoin(b, b.c.k == P)).where(own),
    "chain of left joins": select(a, b, a2).select_from(left.outerjoin(a2, a2.c.k == b.c.k)).where(own),
    "left join of a join": select(a).select_from(a.outerjoin(b.join(a2, b.c.k == a2.c.k), b.c.k == a.c.k)).where(own),
    "self join": select(a, a2).where(own, a2.c.k == a.c.k),
    "replicated beside": select(a, r).where(own, r.c.k == a.c.ref),
    "replicated left": select(r).select_from(r.outerjoin(a, own)),
    "only replicated": select(r),
    "nothing": select(literal(1)),
    "correlated EXISTS": select(a).where(own, exists().where(b.c.k == a.c.k)),
    "correlated IN": select(a).where(own, a.c.v.in_(select(b.c.v).where(b.c.k == a.c.k))),
    "correlated scalar": select(a.c.v, select(func.max(b.c.v)).where(b.c.k == a.c.k).scalar_subquery()).where(own),
    "two levels": select(a).where(own, exists().where(b.c.k == a.c.k, exists().where(a2.c.k == b.c.k))),
    "subquery with its own pin": select(a).where(own, a.c.v.in_(select(b.c.v).where(b.c.k == P))),
    "subquery in FROM": select(select(a).where(own).subquery()),
    "CTE": select(select(a).where(own).cte("w")),
    "union": union(select(a.c.v).where(own), select(b.c.v).where(b.c.k == P)),
    "aggregate": select(func.count()).select_from(a).where(own).group_by(a.c.v).having(func.count() > 1),
    "update": update(a).where(own).values(v=1),
    "update from a subquery": update(a).where(own).values(v=select(b.c.v).where(b.c.k == a.c.k).scalar_subquery()),
    "update looking at a replicated table": update(a).where(own, a.c.ref.in_(select(r.c.k))).values(v=1),
    "delete": delete(a).where(own, a.c.v == 1),
    "delete with EXISTS": delete(a).where(own, exists().where(b.c.k == a.c.k)),
    "insert": insert(a).values(k=P, id=1),
    "insert with a subquery": insert(a).values(k=P, id=1, v=select(b.c.v).where(b.c.k == P).scalar_subquery()),
}

NOT_PROVEN: dict[str, Any] = {
    "no WHERE": select(a),
    "another column": select(a).where(a.c.ref == P),
    "inside OR": select(a).where(or_(own, a.c.v == 1)),
    "inside NOT": select(a).where(sa.not_(own)),
    "IN": select(a).where(a.c.k.in_([P])),
    "a list": select(a).where(a.c.k.in_(bindparam("p", expanding=True))),
    "inequality": select(a).where(a.c.k >= P),
    "a function of the key": select(a).where(func.lower(a.c.k) == P),
    "a function of the parameter": select(a).where(a.c.k == func.lower(P)),
    "another collation": select(a).where(a.c.k.collate("NOCASE") == P),
    "a type that changes the value": select(a).where(a.c.k == bindparam("p", type_=Decimal(9, 2))),
    "an operator of one's own": select(a).where(a.c.k.op("=")(P)),
    "a comparison of a comparison": select(a).where((a.c.k == "x") == P),
    "HAVING": select(a.c.k).group_by(a.c.k).having(own),
    "one of two tables": select(a, b).where(own),
    "joined by another column": select(a, b).select_from(a.join(b, a.c.v == b.c.v)).where(own),
    "an alias": select(a, a2).where(own),
    "left join pinning its left side": select(a).select_from(a.outerjoin(b, sa.and_(own, b.c.k == P))),
    "left join pinned only on the right": select(a, b).select_from(left.outerjoin(a2, own)).where(b.c.v == 1),
    "full join": select(a).select_from(a.join(b, sa.and_(a.c.k == b.c.k, own), full=True)).where(own),
    "equality inside the right side of a left join": select(a).select_from(
        a.outerjoin(b.join(a2, a2.c.k == P), a.c.k == a2.c.k)
    ),
    "uncorrelated IN of the same table": select(a).where(own, a.c.v.in_(select(a.c.v))),
    "correlate(None)": select(a).where(own, exists(select(b.c.v).where(b.c.k == a.c.k).correlate(None))),
    "a table that is not correlated": select(a).where(own, exists(select(b.c.v).where(b.c.v == a.c.v))),
    "a subquery in FROM does not see outside": select(a)
    .select_from(a.join(select(b.c.v, b.c.k).where(b.c.k == a.c.k).subquery("s"), true()))
    .where(own),
    "pinned outside, not inside": select(s := select(a).subquery()).where(s.c.k == P),
    "a CTE without a pin": select(w := select(a).cte("w")).where(w.c.k == P),
    "half of a union": union(select(a.c.v).where(own), select(b.c.v)),
    "a subquery in ORDER BY": select(a).where(own).order_by(select(func.max(b.c.v)).scalar_subquery()),
    "a subquery in columns": select(a.c.v, select(func.max(b.c.v)).scalar_subquery()).where(own),
    "a subquery in ON": select(a).select_from(a.join(r, r.c.id.in_(select(b.c.v)))).where(own),
    "a subquery in a function": select(func.coalesce(select(b.c.v).limit(1).scalar_subquery(), a.c.v)).where(own),
    "a subquery in a function beside the same table": select(
        func.coalesce(select(b.c.v).limit(1).scalar_subquery(), b.c.v)
    )
    .select_from(joined)
    .where(own),
    "a subquery in CASE": select(sa.case((exists(select(b.c.v)), 1), else_=2)).select_from(a).where(own),
    "update without a pin": update(a).values(v=1),
    "update from elsewhere": update(a).where(own).values(v=select(func.max(b.c.v)).scalar_subquery()),
    "delete without a pin": delete(a),
    "delete with a loose subquery": delete(a).where(own, a.c.v.in_(select(b.c.v))),
    "insert from elsewhere": insert(a).values(k=P, id=1, v=select(func.max(b.c.v)).scalar_subquery()),
}
t = select(a.c.k).where(own).cte("t", recursive=True)
UNDECIDED: dict[str, Any] = {
    "recursive CTE": select(t.union_all(select(a.c.k).where(own))),
    "lateral": select(a).select_from(a.join(lateral(select(b.c.v).where(b.c.k == a.c.k)), true())).where(own),
    "VALUES": select(a)
    .select_from(a.join(values(sa.column("n", sa.Integer), name="v").data([(1,)]), true()))
    .where(own),
    "sample": select(sa.tablesample(a, 10)),
    "alias of a subquery": select(select(a).where(own).subquery("s").alias("z")),
    "a CTE that is only attached": select(a).where(own).add_cte(select(b).cte("loose")),
    "a write in a CTE": select(update(a).where(own).values(v=1).returning(a.c.v).cte("w")),
    "a write over several tables": delete(a).where(own, a.c.v == b.c.v),
}


def judged(statement: Any) -> ContractError | None:
    names = tuple(parameters_of(statement))
    plan = compile_plan(statement, names, DIALECT)
    return refusal(statement, plan, Scope.KEYED_WRITE)


@pytest.mark.parametrize("statement", PROVEN.values(), ids=PROVEN)
def test_proven(statement: Any) -> None:
    assert judged(statement) is None


@pytest.mark.parametrize("statement", NOT_PROVEN.values(), ids=NOT_PROVEN)
def test_not_proven(statement: Any) -> None:
    refused = judged(statement)
    assert refused is not None
    assert refused.code == "TF-KEY-1"
    assert "nothing pins" in refused.message
    assert "bindparam" in refused.hint


@pytest.mark.parametrize("statement", UNDECIDED.values(), ids=UNDECIDED)
def test_what_cannot_be_decided_is_refused(statement: Any) -> None:
    with pytest.raises(ContractError, match=r"TF-KEY-5: The key cannot be proven through .*inner joins"):
        judged(statement)


def test_writes_of_replicated_tables_happen_at_home() -> None:
    write = insert(r).values(k=P, id=1)
    plan = compile_plan(write, ("p",), DIALECT)
    for scope, code in ((Scope.KEYED_WRITE, "TF-KEY-4"), (Scope.HOME_WRITE, None), (Scope.HOME_READ, "TF-READ-1")):
        refused = refusal(write, plan, scope)
        assert (refused.code if refused else None) == code
