"""What every room stands on: clock, randomness, errors, files, lifecycle, journal.

Knows nothing of Tenfold's own things.
"""
