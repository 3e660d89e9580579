"""The keeper, and the only code that starts processes.

`keeper.py` and everything it imports is standard library (and `core`): it must come up when nothing else does.
"""
