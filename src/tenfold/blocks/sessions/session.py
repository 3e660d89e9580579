"""The session of one request: what was stored when it began, and the changes that it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from tenfold.blocks.sessions.memory import Record
from tenfold.blocks.sessions.policy import (
    ABSENT,
    SCALARS,
    Add,
    Append,
    Change,
    Most,
    Put,
    Remove,
    changed,
    check_key,
    encoded,
    joined,
    number,
    plain,
)
from tenfold.core.errors import Conflict, ContractError

APPENDED_MAX = 1_000_000
"""What `append` keeps when it is not told: as much as fits."""


class Session:
    """A dict-like view of the visitor's session, with this request's own changes in it.

    Each change is recorded by key and stored with the response, together with those of other requests: `session[key] =`
    and `pop` win over what was there, `incr`, `append` and `max` come together with what others do. A list or dict that
    is changed in place counts as `session[key] = ` that value. Nothing is written when nothing changed.

    Raises `SessionRefused` for what a session cannot hold (64 keys, 32 KB, JSON), at the line that does it.
    """

    __slots__ = (
        "_after", "_closed", "_lent", "_patch", "_record", "_save", "_user", "drop", "fresh", "frozen",
        "id_of_new", "renew",
    )  # fmt: skip

    def __init__(
        self, record: Record | None, save: Callable[[Session], Awaitable[None]], *, frozen: bool = False
    ) -> None:
        self._save = save
        self.frozen = frozen
        """Somebody signed in with this id meanwhile: this is what was there before, and cannot be changed."""
        self._closed = False
        self.id_of_new = b""
        self.drop: bytes | None = None
        self._rest(record)

    def _rest(self, record: Record | None) -> None:
        """Goes on from what is stored."""
        self._record = record
        self._user = None if record is None else record.owner
        self._patch: dict[str, tuple[Change, ...]] = {}
        self._after: dict[str, Any] | None = None
        self._lent: dict[str, Any] = {}
        self.renew = self.fresh = False

    # -- who ----------------------------------------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        """Who signed in (`sessions.login`); None for a visitor that nobody knows."""
        return self._user

    @property
    def id_hash(self) -> str | None:
        """Its name in `of_user` and `revoke`, of which no cookie can be made; None while it is not stored."""
        return None if self._record is None else self._record.id.hex()

    @property
    def version(self) -> int:
        """How often it was written; 0 while it is not stored."""
        return 0 if self._record is None else self._record.version

    # -- reading ------------------------------------------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        values = self._after
        if values is None:
            record = self._record
            if record is None:
                return default
            values = record.values
        value = values.get(key, ABSENT)
        if value is ABSENT:
            return default
        return value if isinstance(value, SCALARS) else self._lend(key, value)

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, ABSENT)
        if value is ABSENT:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._values()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values()))

    def __len__(self) -> int:
        return len(self._values())

    def keys(self) -> list[str]:
        """The keys."""
        return list(self._values())

    def items(self) -> list[tuple[str, Any]]:
        """Keys and values."""
        return [(key, self[key]) for key in self]

    # -- changing -----------------------------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: Any) -> None:
        self._change(key, Put(value if value is None or isinstance(value, bool) else plain(value)))

    def set(self, key: str, value: Any) -> None:
        """The same as `session[key] = value`."""
        self[key] = value

    def update(self, values: dict[str, Any]) -> None:
        """Sets several keys."""
        for key, value in values.items():
            self[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._change(key, Remove())

    def pop(self, key: str, default: Any = None) -> Any:
        """Takes a key away; its value, or `default`."""
        if key not in self:
            return default
        value = self[key]
        self._change(key, Remove())
        return value

    def clear(self) -> None:
        """Takes away all keys that this request sees. It does not sign anybody out."""
        for key in self:
            self._change(key, Remove())

    def incr(self, key: str, amount: int | float = 1) -> Any:
        """Adds to a number, which is 0 while it is missing; what it is then, as far as this request knows."""
        return self._change(key, Add(number(amount)))

    def max(self, key: str, value: int | float) -> Any:
        """Makes a number at least this large; what it is then, as far as this request knows."""
        return self._change(key, Most(number(value)))

    def append(self, key: str, item: Any, *, keep: int = APPENDED_MAX) -> None:
        """Adds to the end of a list, which is empty while it is missing, and keeps its last `keep` items."""
        if keep < 1:
            raise ContractError("`append` keeps at least 1 item.", hint="Use `pop` to take a list away.")
        self._change(key, Append((plain(item),), keep))

    async def save(self) -> None:
        """Stores the changes now. It happens by itself before a response; a WebSocket and a long stream ask for it."""
        await self._save(self)

    # -- what the block does ------------------------------------------------------------------------------------------

    @property
    def base(self) -> Record | None:
        """What was stored when this request read it."""
        return self._record

    def belong(self, user: str | None) -> None:
        """Makes it that user's, under a new id. What another user had in it does not come along."""
        self.frozen = self.frozen and user is None  # who signs in twice at once has two sessions, and both are good
        self._writable()
        self._settle_lent()
        if self._user is not None and self._user != user:
            self._after, self._patch = {}, {}
        self._user = user
        self.renew = True

    def leave(self) -> None:
        """Ends it; what is set afterwards is a new session's."""
        self._writable()
        if self._record is not None:
            self.drop = self._record.id
        self._rest(None)

    def becomes_new(self) -> bool:
        """Whether it is stored under a new id: it is renewed, or there was none and now there is something to keep."""
        if self._record is None:
            return self._user is not None or len(self) > 0
        return self.renew

    def patch(self) -> dict[str, tuple[Change, ...]]:
        """The changes to store, those made in place included; a value that is set to what it was is none."""
        self._settle_lent()
        stored = {} if self._record is None else self._record.values
        return {key: made for key, made in self._patch.items() if not _same(stored.get(key, ABSENT), made)}

    def stored(self, record: Record | None) -> None:
        """They are stored, and this is the session now."""
        self.drop = None
        self.id_of_new = b""
        self._rest(record)

    def close(self) -> None:
        """The response begins: changes would not be stored any more."""
        self._closed = True

    def _values(self) -> dict[str, Any]:
        if self._after is not None:
            return self._after
        return {} if self._record is None else self._record.values

    def _lend(self, key: str, value: Any) -> Any:
        """A copy of a list or dict, the same one each time, so that what is changed in it is seen."""
        if key not in self._lent:
            self._lent[key] = msgspec.json.decode(msgspec.json.encode(value))
        return self._lent[key]

    def _settle_lent(self) -> None:
        lent, self._lent = self._lent, {}
        for key, value in lent.items():
            if msgspec.json.encode(value) != msgspec.json.encode(self._values().get(key)):
                self[key] = value

    def _change(self, key: str, change: Change) -> Any:
        self._writable()
        check_key(key)
        if key in self._lent:
            lent = self._lent.pop(key)
            if not isinstance(change, Put | Remove) and lent != self._values().get(key):
                self[key] = lent
        after = dict(self._values())
        value = changed(key, after.get(key, ABSENT), change)
        if value is ABSENT:
            after.pop(key, None)
        else:
            after[key] = value
            encoded(after)
        self._after = after
        self._patch[key] = joined(self._patch.get(key, ()), change)
        return value

    def _writable(self) -> None:
        if self._closed:
            raise ContractError(
                "The session was changed after the response had begun, so nothing would be stored.",
                hint="Change it before the response; in a stream, call `await session.save()` before it begins.",
                code="TF-SESSION-LATE",
            )
        if self.frozen:
            raise Conflict(
                "Somebody signed in with this session while the request was on its way.",
                hint="Send the request again; the browser has a new cookie by now.",
                code="TF-SESSION-RENEWED",
            )


def _same(value: Any, made: tuple[Change, ...]) -> bool:
    """Whether the changes leave the value as it was stored."""
    match made:
        case (Put(new),):
            return value is not ABSENT and msgspec.json.encode(value) == msgspec.json.encode(new)
        case (Remove(),):
            return value is ABSENT
        case _:
            return False
