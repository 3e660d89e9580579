"""The shortener as it is usually written: FastAPI, SQLAlchemy asyncio, aiosqlite, a dict as cache.

`BENCH_DEPENDS=1` takes the session from `Depends(get_session)`; without it the handlers open it themselves, which is
the cheaper variant. Both commit durably (WAL, synchronous=FULL), as ours does.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from sqlalchemy import String, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_DB']}", pool_size=8)
sessions = async_sessionmaker(engine, expire_on_commit=False)
cache: dict[str, str] = {}
numbers = itertools.count(1)


@event.listens_for(engine.sync_engine, "connect")
def durable(connection: Any, _record: Any) -> None:
    """WAL and a real fsync on COMMIT."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=20000")
    cursor.close()


class Base(DeclarativeBase):
    """Declarative base."""


class Link(Base):
    """A short link."""

    __tablename__ = "links"
    code: Mapped[str] = mapped_column(String(32), primary_key=True)
    url: Mapped[str] = mapped_column(String(2048))


class Shorten(BaseModel):
    """What a client posts."""

    url: str


class Shortened(BaseModel):
    """What it gets."""

    code: str
    short_url: str
    url: str


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Makes the table."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def _store(session: AsyncSession, url: str) -> Shortened:
    code = f"{os.getpid()}x{next(numbers)}"
    session.add(Link(code=code, url=url))
    await session.commit()
    return Shortened(code=code, short_url=f"http://127.0.0.1/{code}", url=url)


async def _find(session: AsyncSession, code: str) -> RedirectResponse:
    url = cache.get(code)
    if url is None:
        link = await session.get(Link, code)
        if link is None:
            raise HTTPException(404)
        url = cache[code] = link.url
    return RedirectResponse(url, status_code=302)


if os.environ.get("BENCH_DEPENDS"):

    @app.post("/api/v1/data/shorten", status_code=201)
    async def shorten(body: Shorten, session: Session) -> Shortened:
        """Stores a link."""
        return await _store(session, body.url)

    @app.get("/{code}")
    async def redirect(code: str, session: Session) -> RedirectResponse:
        """Redirects."""
        return await _find(session, code)

else:

    @app.post("/api/v1/data/shorten", status_code=201)
    async def shorten(body: Shorten) -> Shortened:
        """Stores a link."""
        async with sessions() as session:
            return await _store(session, body.url)

    @app.get("/{code}")
    async def redirect(code: str) -> RedirectResponse:
        """Redirects; a cached link opens no session."""
        url = cache.get(code)
        if url is not None:
            return RedirectResponse(url, status_code=302)
        async with sessions() as session:
            return await _find(session, code)
