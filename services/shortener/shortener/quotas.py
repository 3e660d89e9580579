"""How often somebody may do something. A `[[limit]]` of the same name in tenfold.toml replaces one, and
`TENFOLD_LIMITS=off` switches all off.

What is counted by address is not counted for programs on this machine itself: all of them have one address, and whoever
is there needs no quota to do harm. So `tenfold prove` and `tenfold load` work as they are. The setting
`limit_this_machine` ends the exception, for a service behind a proxy on its own machine.
"""

from __future__ import annotations

from ipaddress import ip_address

from starlette.requests import Request

from shortener import settings
from shortener.model import tf

SIGN_UPS = tf.limits.rule("sign-ups", "20/hour", burst=10)
LOGINS = tf.limits.rule("logins", "60/minute", burst=20)
LOGINS_OF_A_NAME = tf.limits.rule("logins-of-a-name", "10/minute", burst=10)
ANONYMOUS_LINKS = tf.limits.rule("anonymous-links", "60/hour", burst=30)
ACCOUNT_LINKS = tf.limits.rule("account-links", "1000/day", burst=200)
API_CALLS = tf.limits.rule("api-calls", "600/minute", burst=120)
REPORTS = tf.limits.rule("reports", "10/hour", burst=5)

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


async def for_sign_up(request: Request) -> None:
    """One account made, by address."""
    if not _is_exempt(request):
        await tf.limits.require((SIGN_UPS, tf.limits.address()))


async def for_login(request: Request, name: str) -> None:
    """One password tried: by address, and by the name that it was tried for, wherever that comes from."""
    of_name = (LOGINS_OF_A_NAME, name.strip().lower()[:32])
    if _is_exempt(request):
        await tf.limits.require(of_name)
    else:
        await tf.limits.require((LOGINS, tf.limits.address()), of_name)


async def for_link(request: Request, owner: str | None) -> None:
    """One link made: by account, or by address for those without one."""
    if owner is not None:
        await tf.limits.require((ACCOUNT_LINKS, owner))
    elif not _is_exempt(request):
        await tf.limits.require((ANONYMOUS_LINKS, tf.limits.address()))


async def for_api(owner: str) -> None:
    """One call with an API key, by account."""
    await tf.limits.require((API_CALLS, owner))


async def for_report(request: Request) -> None:
    """One report of abuse, by address."""
    if not _is_exempt(request):
        await tf.limits.require((REPORTS, tf.limits.address()))


def _is_exempt(request: Request) -> bool:
    """Whether the request comes from this machine itself, and not through a proxy on it."""
    if settings.limit_this_machine() or any(name in request.headers for name in _FORWARDED):
        return False
    return request.client is not None and _is_loopback(request.client.host)


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
