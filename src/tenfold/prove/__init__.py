"""The proof: load under faults, written down as a history, judged by checkers (docs/guarantees.md).

A run is a history (`history`) of what clients asked for and were told; checkers (`checkers`, pure) look for anomalies
in it; a verdict (`verdict`) says for each promise whether it holds, with the number of things that were judged.
"""
