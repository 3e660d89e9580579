"""On whose behalf a request comes: a person by their session, a program by its API key."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from shortener import settings
from shortener.accounts.keys import QUARANTINE, RIGHTS, ApiKey, key_of
from shortener.model import tf
from shortener.refusal import Refusal

AUTHENTICATE = {"www-authenticate": 'Bearer realm="shortener"'}


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody with an account, and what they may do here."""

    owner: str
    name: str
    rights: frozenset[str]

    def may(self, right: str) -> bool:
        """Whether they have one of `RIGHTS`; quarantine only while they are an administrator."""
        return right in self.rights and (right != QUARANTINE or self.name in settings.admins())


async def person() -> Who | None:
    """Who is logged in; None for a visitor."""
    session = await tf.sessions.current()
    if session.user is None:
        return None
    return Who(session.user, str(session.get("name", "")), frozenset(RIGHTS))


async def program(request: Request, right: str) -> Who:
    """Whose API key the request carries; `Refusal` 401 without a key in force, 403 for one without the right."""
    who = await perhaps_program(request)
    if who is None:
        raise Refusal("body", "key.missing", status=401)
    if not who.may(right):
        raise Refusal("body", "key.no_right", status=403, right=right)
    return who


async def perhaps_program(request: Request) -> Who | None:
    """Whose API key the request carries, None when it carries none; `Refusal` 401 for one that is not in force."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return None
    key: ApiKey | None = await key_of(text.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise Refusal("body", "key.wrong", status=401)
    return Who(key.owner, key.name, frozenset(key.rights))
