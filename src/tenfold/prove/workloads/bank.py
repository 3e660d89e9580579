"""A bank inside one key: transfers neither make nor lose money, and every balance is explained."""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import bank
from tenfold.prove.history import Recording, Status
from tenfold.prove.probe.limits import ACCOUNTS, BALANCE
from tenfold.prove.verdict import Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Rotation, Values, chance, field, pick, probe_path, read, write

READS = 0.3
USES = 1000
MOST = 20
OPENING = {str(number): BALANCE for number in range(ACCOUNTS)}


class BankWorkload:
    """Transfers between two accounts, half of them keyed, and reads of all balances."""

    name = "bank"
    promises = ("P1",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._keys = Rotation(run, self.name, USES)
        self._values = Values()

    def next(self, process: int, randomness: Randomness) -> Request:
        """A transfer or a read of the bank that is in use now."""
        key = self._keys.next()
        if chance(randomness, READS):
            return _read(key)
        giver = pick(randomness, ACCOUNTS)
        taker = (giver + 1 + pick(randomness, ACCOUNTS - 1)) % ACCOUNTS
        amount = 1 + pick(randomness, MOST)
        keyed = f"{self._run}-bank-{self._values.next(process)}" if chance(randomness, 0.5) else ""
        value = {"from": str(giver), "to": str(taker), "amount": amount}
        body = {"giver": giver, "taker": taker, "amount": amount}
        return write(probe_path("bank", key), "transfer", key, value, body, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The transfer, or the balances that a read returned, by account."""
        if request.function == "transfer":
            return request.value
        balances = field(answer, status, "balances")
        return {str(number): balance for number, balance in enumerate(balances)} if balances else balances

    def final(self) -> list[Request]:
        """Every bank of the run."""
        return [_read(key) for key in self._keys.used()]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `bank`."""
        return [judge("P1", bank.check(recording.of(self.name), OPENING), workload=self.name)]


def _read(key: str) -> Request:
    return read(probe_path("bank", key), "read_all", key)
