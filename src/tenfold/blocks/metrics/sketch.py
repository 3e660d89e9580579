"""How many different things there were: exact while there are few, then HyperLogLog.

Up to `EXACT` different hashes are kept as they are. Beyond, `2**P` registers hold for each part of the hashes the most
leading zeros that were seen (Flajolet, Fusy, Gandouet and Meunier 2007), of hashes with 64 bits (Heule, Nunkesser and
Hall 2013), so that collisions do not matter before 10**9. The estimate is Ertl's (2017, arXiv:1702.01284, algorithm 6):
unbiased over the whole range, without tables and without a threshold between two formulas. Its standard error is
1.04 / sqrt(2**P) = 0.81 %: two of three estimates are nearer than that, 95 of 100 within 1.6 %.

Sketches of several processes, days or label sets are merged without any loss: the union's sketch is the merged one.
"""

from __future__ import annotations

import math
import zlib
from hashlib import blake2b

P = 14
M = 1 << P
STANDARD_ERROR = 1.04 / math.sqrt(M)
EXACT = 2048
"""Different hashes up to which the count is exact; as many as fit into the room of the registers."""

_Q = 64 - P
_REST = (1 << _Q) - 1
_ALPHA = 1 / (2 * math.log(2))
_SET, _REGISTERS = b"\x01", b"\x02"


def hash_of(what: bytes, salt: bytes) -> int:
    """64 bits of BLAKE2b, keyed by the metric: hashes of two metrics cannot be compared with each other."""
    return int.from_bytes(blake2b(what, digest_size=8, key=salt).digest(), "big")


class Sketch:
    """A set of hashes that can be counted and merged."""

    __slots__ = ("_few", "_registers")

    def __init__(self) -> None:
        self._few: set[int] | None = set()
        self._registers = bytearray()

    def add(self, number: int) -> bool:
        """Takes a 64-bit hash; whether that changed anything."""
        few = self._few
        if few is not None:
            before = len(few)
            few.add(number)
            if len(few) > EXACT:
                self._spread()
            return len(few) != before
        return self._raise(number)

    def merge(self, other: Sketch) -> bool:
        """Takes everything that the other one has; whether that changed anything."""
        if other._few is not None:
            return sum(map(self.add, other._few)) > 0
        spread = self._few is not None
        if spread:
            self._spread()
        before, self._registers = self._registers, bytearray(map(max, self._registers, other._registers))
        return spread or before != self._registers

    def __bool__(self) -> bool:
        return self._few is None or bool(self._few)

    def count(self) -> int:
        """How many different hashes there were."""
        return len(self._few) if self._few is not None else round(_estimate(self._registers))

    def dump(self) -> bytes:
        """As bytes, for `load`: at most 8 bytes a hash, at most about 16 KB."""
        if self._few is not None:
            return _SET + b"".join(number.to_bytes(8, "big") for number in sorted(self._few))
        return _REGISTERS + zlib.compress(self._registers, 1)

    @classmethod
    def load(cls, data: bytes) -> Sketch:
        """What `dump` made; `ValueError` for anything else."""
        made = cls()
        if data[:1] == _SET and len(data) % 8 == 1:
            made._few = {int.from_bytes(data[at : at + 8], "big") for at in range(1, len(data), 8)}
            return made
        opener = zlib.decompressobj()
        try:
            registers = opener.decompress(data[1:], M + 1) if data[:1] == _REGISTERS else b""
        except zlib.error:
            registers = b""
        if len(registers) != M or max(registers) > _Q + 1:
            raise ValueError("this is not a sketch")
        made._few, made._registers = None, bytearray(registers)
        return made

    def _spread(self) -> None:
        few, self._few = self._few or set(), None
        self._registers = bytearray(M)
        for number in few:
            self._raise(number)

    def _raise(self, number: int) -> bool:
        place = number >> _Q
        rank = _Q + 1 - (number & _REST).bit_length()
        if rank <= self._registers[place]:
            return False
        self._registers[place] = rank
        return True


def _estimate(registers: bytes | bytearray) -> float:
    of_rank = [0] * (_Q + 2)
    for rank in registers:
        of_rank[rank] += 1
    total = M * _tau(1 - of_rank[_Q + 1] / M)
    for rank in range(_Q, 0, -1):
        total = 0.5 * (total + of_rank[rank])
    total += M * _sigma(of_rank[0] / M)
    return _ALPHA * M * M / total


def _sigma(x: float) -> float:
    """x + the sum of x**(2**k) * 2**(k-1) for k from 1 on: what the registers at zero add."""
    if x == 1.0:
        return math.inf
    total, weight, before = x, 1.0, -1.0
    while total != before:
        x *= x
        before = total
        total += x * weight
        weight += weight
    return total


def _tau(x: float) -> float:
    """(1 - x - the sum of (1 - x**(2**-k))**2 * 2**-k) / 3: what the full registers add."""
    if x in (0.0, 1.0):
        return 0.0
    total, weight, before = 1 - x, 1.0, -1.0
    while total != before:
        x = math.sqrt(x)
        before = total
        weight *= 0.5
        total -= (1 - x) ** 2 * weight
    return total / 3
