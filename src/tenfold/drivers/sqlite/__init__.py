"""SQLite as a durable, concurrent store: a serial writer with group commit, readers, a lock between processes."""

from tenfold.drivers.sqlite.connection import open_reader, open_writer
from tenfold.drivers.sqlite.failures import translated
from tenfold.drivers.sqlite.lock import WriterLock
from tenfold.drivers.sqlite.writer import Writer

__all__ = ["Writer", "WriterLock", "open_reader", "open_writer", "translated"]
