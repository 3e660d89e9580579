"""The database block: typed portable tables, keys, replayable transactions, session reads. See docs/contract.md."""

from tenfold.blocks.database.backend import Capabilities, DatabaseConfig, Reader, ServerConfig, Transaction
from tenfold.blocks.database.block import Database
from tenfold.blocks.database.gate import Holding
from tenfold.blocks.database.tables import Home, home, home_of, replicated, sharded_by

__all__ = [
    "Capabilities",
    "Database",
    "DatabaseConfig",
    "Holding",
    "Home",
    "Reader",
    "ServerConfig",
    "Transaction",
    "home",
    "home_of",
    "replicated",
    "sharded_by",
]
