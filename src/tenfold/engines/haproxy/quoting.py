"""Words in HAProxy's configuration language. Pure."""

from __future__ import annotations


def quoted(text: str) -> str:
    """One word, whatever is in it. Raises `ValueError` for what no configuration can hold."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError(f"{text!r} holds a control character, which no configuration can.")
    return "'" + text.replace("'", "'\\''") + "'"


def milliseconds(seconds: float) -> str:
    """A time as HAProxy reads it, at least one millisecond."""
    return f"{max(1, round(seconds * 1000))}ms"


def section(title: str, *lines: str) -> str:
    """A section of the configuration; empty lines are left out."""
    return "\n".join([title, *(f"    {line}" for line in lines if line)]) + "\n"
