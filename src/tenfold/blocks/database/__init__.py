"""The database block."""
