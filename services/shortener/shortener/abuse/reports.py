"""Reports: what people say about a link. Few, looked at together, and so at home on one shard.

Nothing is stored about who reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, select

from shortener.links.finding import live_link
from shortener.model import now, tf
from shortener.refusal import Refusal
from tenfold import Column, Text, Transaction, UtcDateTime, Uuid, home

REASONS = ("phishing", "malware", "spam", "other")
LONGEST = 500
SHOWN = 100

reports = tf.table(
    "reports",
    Column("id", Uuid, primary_key=True),
    Column("code", Text(32), nullable=False),
    Column("reason", Text(10), nullable=False),
    Column("text", Text(LONGEST), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    home=home(),
)
_c = reports.c
INSERT_REPORT = insert(reports)
OLDEST = select(_c.id, _c.code, _c.reason, _c.text, _c.created).order_by(_c.created, _c.id).limit(SHOWN)
DELETE_OF_CODE = delete(reports).where(_c.code == bindparam("code"))


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody said about a link."""

    id: UUID
    code: str
    reason: str
    text: str
    created: datetime


async def report(code: str, reason: str, text: str) -> None:
    """Stores a report; `Refusal` with the field at fault, HTTPException 404 or 410 without such a link."""
    text = text.strip()
    if reason not in REASONS:
        raise Refusal("reason", "report.reason")
    if len(text) > LONGEST or "\x00" in text:
        raise Refusal("text", "report.text", most=LONGEST)
    link = await live_link(code)
    await _insert(Report(tf.ids.uuid7(), link.code, reason, text, now()))


async def open_reports() -> list[Report]:
    """The reports that nobody has dealt with, the oldest first, at most `SHOWN`."""
    async with tf.database.read() as db:
        rows = await db.all(OLDEST)
    return [Report(row.id, row.code, row.reason, row.text, row.created) for row in rows]


@tf.database.transaction()
async def _insert(tx: Transaction, made: Report) -> None:
    await tx.run(INSERT_REPORT, id=made.id, code=made.code, reason=made.reason, text=made.text, created=made.created)


@tf.database.transaction()
async def close_reports(tx: Transaction, code: str) -> None:
    """Forgets the reports about a link: somebody has decided."""
    await tx.run(DELETE_OF_CODE, code=code)
