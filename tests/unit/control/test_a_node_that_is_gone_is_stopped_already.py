"""`Crew.stop` over a real socket: a node that the keeper does not know is gone, any other refusal is an error."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tenfold.control.answering import answer_on
from tenfold.control.crew import Crew
from tenfold.control.place import Place
from tenfold.core.clock import ManualClock
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts import wire


@pytest.mark.parametrize(("code", "gone"), [("TF-NO-NODE", True), ("TF-USAGE", False)])
def test_a_node_that_nobody_knows_is_gone(tmp_path: Path, code: str, gone: bool) -> None:
    (tmp_path / ".tenfold" / "run").mkdir(parents=True)

    async def refuse(_message: wire.Message) -> wire.Message:
        raise UsageError("There is no such node.", code=code)

    async def stop() -> str:
        server = await answer_on(tmp_path / ".tenfold" / "run" / "keeper.sock", "keeper", {"stop": refuse})
        try:
            return await Crew(Place(tmp_path), ManualClock()).stop("web-9", 0.0)
        finally:
            server.close()

    if gone:
        assert asyncio.run(stop()) == "gone"
        return
    with pytest.raises(TenfoldError, match="no such node"):
        asyncio.run(stop())
