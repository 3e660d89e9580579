"""A service that is nothing but the probe, and a mutant when its environment says so; for real deployments in tests."""

from __future__ import annotations

import os
from typing import Any

from tenfold import NotFound, Probe, Tenfold
from tenfold.prove.mutants import install

install(os.environ)
tf = Tenfold("probed")


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The service around which the probe is: it has no pages."""
    if scope["type"] == "http":
        raise NotFound("There is nothing at this address.")


app = tf.asgi(Probe(tf, nothing))
