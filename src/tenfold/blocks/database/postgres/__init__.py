"""The database block on PostgreSQL: coalesced reads, transactions that run again, commits that can be looked up."""
