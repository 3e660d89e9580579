"""Answering on a unix socket (wire.py): one line asked, one line answered, to whom the deployment belongs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts import wire

Operation = Callable[[wire.Message], Awaitable[wire.Message]]
Operations = Mapping[str, Operation]

IDLE_S = 30.0
"""How long somebody who has connected may take to ask, in seconds."""


async def answer_on(path: Path, name: str, operations: Operations) -> asyncio.Server:
    """Listens on `path` and answers with `operations`; `name` is who says that it does not know one."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(await _answer(name, operations, reader, writer))
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(converse, sock=wire.listen_unix(path), limit=wire.MAX_LINE)


async def _answer(
    name: str, operations: Operations, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    try:
        if not wire.may_ask(wire.peer_uid(writer.get_extra_info("socket"))):
            raise UsageError("This deployment belongs to another user.", code="TF-NOT-YOURS")
        message = wire.decode(await asyncio.wait_for(reader.readline(), IDLE_S))
        operation = operations.get(str(message.get("op")))
        if operation is None:
            raise UsageError(
                f"The {name} does not know {message.get('op')!r}.", hint=f"It knows {', '.join(operations)}."
            )
        return wire.encode({"ok": True, **await operation(message)})
    except TenfoldError as error:
        return wire.refusal(error)
    except ValueError:
        return wire.refusal(UsageError(f"A line may have {wire.MAX_LINE} bytes."))
