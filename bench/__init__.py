"""Measurements, with peers in the same run: `make bench`, or `python -m bench http|database|cache|start|checkers`."""
