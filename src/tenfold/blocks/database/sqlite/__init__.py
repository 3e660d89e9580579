"""The database block on SQLite: reads on the loop, writes through the serial writer."""
