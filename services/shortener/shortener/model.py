"""The one `Tenfold` object of the service, and its clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenfold import Tenfold

tf = Tenfold("shortener")
tf.events.keep("1h")  # a visit is an event; once it is counted, nobody asks for it again

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The time, in UTC."""
    return _EPOCH + timedelta(microseconds=tf.clock.wall_us())
