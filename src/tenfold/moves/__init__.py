"""Moves: live changes of a running deployment. `base.py` says what a move is; one file or folder a move."""
