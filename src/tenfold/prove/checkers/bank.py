"""Transfers between accounts that are read together: is money neither made nor lost, and is every balance explained?

Source: the `bank` workload of Jepsen (Kingsbury): each read of all accounts in one transaction shows the same total,
and no balance below zero. That alone misses a transfer that vanished as a whole, so each balance must also lie between
what the acknowledged transfers before the read and the attempted ones until its end allow (bounds as for a counter).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tenfold.prove.checkers.common import Bounds, grouped, is_number
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "bank-totals"


def check(
    operations: Iterable[Operation],
    opening: Mapping[str, int],
    *,
    transfer: str = "transfer",
    read: str = "read_all",
    overdraft: bool = False,
) -> Findings:
    """Judges each key of a history as one bank that opened with the balances `opening` (smallest unit of money).

    A `transfer` carries `{"from": account, "to": account, "amount": n}`, an ok `read` `{account: balance}`. Names
    `total-changed`, `negative-balance` (not with `overdraft`), `accounts-differ` and `balance-unexplained` (a transfer
    was lost, applied twice, or came from nowhere). `n` counts the ok reads. Figures: `transfers` (ok), `unknown`.
    """
    finder = Finder()
    reads, figures = 0, {"transfers": 0.0, "unknown": 0.0}
    for key, group in grouped(operations).items():
        transfers = [each for each in group if each.function == transfer]
        figures["transfers"] += sum(1 for each in transfers if each.status is Status.OK)
        figures["unknown"] += sum(1 for each in transfers if each.status is Status.UNKNOWN)
        bank = _Bank(key, opening, transfers, finder)
        for operation in group:
            if operation.function == read and operation.status is Status.OK:
                reads += 1
                bank.judge(operation, overdraft)
    return finder.findings(CHECKER, reads, "reads", figures)


class _Bank:
    def __init__(self, key: str, opening: Mapping[str, int], transfers: list[Operation], finder: Finder) -> None:
        self.key = key
        self.finder = finder
        self.opening = opening
        self.total = sum(opening.values())
        self.bounds = {name: Bounds(balance, _changes(transfers, name)) for name, balance in opening.items()}

    def judge(self, read: Operation, overdraft: bool) -> None:
        """Compares one read of all accounts with what there is and what was transferred."""
        balances: Any = read.value
        if not self._accounts(balances):
            sentence = f"a read shows other accounts than the {len(self.opening)} there are"
            self.finder.add("accounts-differ", self.key, sentence, read)
            return
        total = sum(balances.values())
        if total != self.total:
            self.finder.add("total-changed", self.key, f"a read adds up to {total} instead of {self.total}", read)
        for account, balance in balances.items():
            if balance < 0 and not overdraft:
                self.finder.add("negative-balance", self.key, f"account {account} is at {balance}", read)
            low, high = self.bounds[account].of(read)
            if not low <= balance <= high:
                sentence = f"account {account} is at {balance}; the transfers allow {low} to {high}"
                self.finder.add("balance-unexplained", self.key, sentence, read)

    def _accounts(self, balances: Any) -> bool:
        alike = isinstance(balances, dict) and balances.keys() == self.opening.keys()
        return alike and all(map(is_number, balances.values()))


def _changes(transfers: list[Operation], account: str) -> list[tuple[Operation, int]]:
    """What each transfer does to one account."""
    found = []
    for each in transfers:
        value: Any = each.value
        change = (value["to"] == account) * value["amount"] - (value["from"] == account) * value["amount"]
        if change:
            found.append((each, change))
    return found
