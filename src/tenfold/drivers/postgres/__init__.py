"""PostgreSQL: connections with prepared statements, a small pool of them, and its errors in our vocabulary."""

from tenfold.drivers.postgres.connection import Link, Settings
from tenfold.drivers.postgres.failures import Lost, is_lost, is_serialization, translated
from tenfold.drivers.postgres.pool import Pool

__all__ = ["Link", "Lost", "Pool", "Settings", "is_lost", "is_serialization", "translated"]
