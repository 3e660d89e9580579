"""All numbers of a process, in the forms that others read: requests, blocks, what the service counts, the process."""

from __future__ import annotations

import os
from collections.abc import Callable

from tenfold import __version__
from tenfold.serve import otlp
from tenfold.serve.metrics import HttpMetrics
from tenfold.serve.push import Push
from tenfold.serve.runtime import Runtime


class Numbers:
    """The numbers, for `/metrics` and for a collector. `look` is called before they are read."""

    def __init__(self, runtime: Runtime, http: HttpMetrics, look: Callable[[], None]) -> None:
        self._runtime = runtime
        self._http = http
        self._look = look
        self._resource = otlp.Resource(
            service=runtime.name,
            instance=os.environ.get("TENFOLD_NODE") or f"process-{os.getpid()}",
            version=__version__,
            began_us=runtime.clock.wall_us(),
        )
        self.push = Push(self._target, self.otlp, runtime.randomness)

    def text(self) -> bytes:
        """Prometheus' text."""
        self._collect()
        return self._http.exposition()

    def otlp(self) -> bytes:
        """OpenTelemetry's JSON."""
        self._collect()
        return otlp.request(self._http.families(), self._resource, self._runtime.clock.wall_us())

    def _collect(self) -> None:
        self._look()
        self._http.collectors = self._runtime.collectors()

    def _target(self) -> tuple[str, float]:
        current = self._runtime.map
        return ("", 0.0) if current is None else (current.metrics.otlp, current.metrics.every_s)
