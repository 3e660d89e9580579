"""The workloads: each says what to send, what an answer means, and which checker judges the run.

The seam for more (a queue, sessions): a class that satisfies `Workload`, and a line in `KNOWN`.
"""

from tenfold.prove.workloads.base import PROBE, Answer, Request, Workload

__all__ = ["PROBE", "Answer", "Request", "Workload"]
