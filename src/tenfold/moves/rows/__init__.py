"""Rows on their way between the two databases: what is moved, captured, copied, replayed, compared and fenced."""
