"""The rules of a service by name: declared in the code, replaced by tenfold.toml, changed while it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tenfold.blocks.limits.rule import Rule
from tenfold.core.errors import ContractError
from tenfold.core.units import shown
from tenfold.topology.limits import LimitMap, LimitSpec, faults_of_limit, limit_map
from tenfold.topology.rules import REFUSALS
from tenfold.topology.spec import keys_of

log = logging.getLogger("tenfold.limits")


def checked(values: Mapping[str, Any]) -> LimitMap:
    """A limit from the code, under the rules of `[[limit]]`; an empty value means the default."""
    given = {name: value for name, value in values.items() if value not in ([], "", None)}
    spec: dict[str, Any] = {}
    for name, (key, _) in keys_of(LimitSpec).items():
        if name in given:
            try:
                spec[name] = key.rule.read(given[name])
            except REFUSALS:
                found, allowed = shown(given[name]), key.rule.allowed
                raise _refused(f"A limit's {name}: found {found}; allowed: {allowed}.", "Correct it.") from None
    declared = limit_map(LimitSpec(**spec))
    for sentence, hint in faults_of_limit(declared):
        raise _refused(f"{sentence[0].upper()}{sentence[1:]}.", hint)
    return declared


class Rules:
    """All rules by name. A rule object stays the same over all changes, so that code may keep it."""

    def __init__(self) -> None:
        self.by_name: dict[str, Rule] = {}
        self._declared: dict[str, LimitMap] = {}
        self._mapped: dict[str, LimitMap] = {}
        self._told: set[tuple[LimitMap, LimitMap]] = set()

    def declare(self, limit: LimitMap, now_ns: int) -> Rule:
        """A rule from the code; the one that exists when it says the same. `ContractError` when it says otherwise."""
        before = self._declared.get(limit.name)
        if before is not None and before != limit:
            raise _refused(
                f'The limit "{limit.name}" is declared twice in the code: as {_words(before)} and as {_words(limit)}.',
                "Give each limit a name of its own, or use the first one.",
            )
        self._declared[limit.name] = limit
        return self._made(limit.name, now_ns)

    def adopt(self, limits: Sequence[LimitMap], now_ns: int) -> None:
        """Goes by the limits of a map."""
        gone = self._mapped.keys() - {limit.name for limit in limits}
        self._mapped = {limit.name: limit for limit in limits}
        for name in (*self._mapped, *gone):
            if name in self._mapped or name in self._declared:
                self._made(name, now_ns)
            else:
                del self.by_name[name]

    def _made(self, name: str, now_ns: int) -> Rule:
        declared, mapped = self._declared.get(name), self._mapped.get(name)
        in_force = mapped or declared
        assert in_force is not None, "a rule comes from somewhere"
        if declared is not None and mapped is not None and declared != mapped:
            self._tell(declared, mapped)
            if not mapped.routes:  # where it counts by itself is the code's affair, unless the file says otherwise
                where = {"routes": declared.routes, "methods": declared.methods, "key": declared.key}
                in_force = msgspec.structs.replace(mapped, **where)
        rule = self.by_name.get(name)
        if rule is None:
            rule = self.by_name[name] = Rule(in_force)
        elif rule.limit != in_force:
            rule.change(in_force, now_ns)
        return rule

    def _tell(self, declared: LimitMap, mapped: LimitMap) -> None:
        if (declared, mapped) not in self._told:
            self._told.add((declared, mapped))
            log.warning(
                'The limit "%s" is %s in the code and %s in tenfold.toml; tenfold.toml wins.',
                mapped.name, _words(declared), _words(mapped),
            )  # fmt: skip

    def on_routes(self) -> list[Rule]:
        """The rules that count requests by themselves."""
        return [rule for rule in self.by_name.values() if rule.limit.routes]


def _words(limit: LimitMap) -> str:
    plain = LimitMap(limit.name, limit.rate)
    more = [
        f"{name} = {shown(value) if isinstance(value, str) else value}"
        for name in LimitMap.__struct_fields__[2:]
        if (value := getattr(limit, name)) != getattr(plain, name)
    ]
    return ", ".join([limit.rate, *more])


def _refused(what: str, hint: str) -> ContractError:
    return ContractError(what, hint=hint, code="TF-LIMIT-RULE")
