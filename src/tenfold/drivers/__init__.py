"""What several blocks and moves speak through: the SQLite writer today, PostgreSQL and Redis connections later."""
