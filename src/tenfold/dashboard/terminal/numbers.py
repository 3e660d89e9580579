"""Figures in as few characters as say enough. Pure."""

from __future__ import annotations

from tenfold.control.figures.model import Traffic


def rate_words(rate: float) -> str:
    """Something per second: `0.4/s`, `240/s`, `1,204/s`, `120k/s`."""
    return f"{count_words(rate)}/s"


def count_words(number: float) -> str:
    """A number with two or three digits that count: `0.4`, `12`, `1,204`, `120k`, `3.1M`."""
    if number >= 999_500:
        return f"{number / 1e6:.1f}M"
    if number >= 99_950:
        return f"{number / 1000:.0f}k"
    if number >= 9.95 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 0.095 else "<0.1"


def ms_words(milliseconds: float) -> str:
    """How long: `0.4 ms`, `3.2 ms`, `140 ms`, `1.2 s`, `80 s`."""
    if milliseconds >= 9950:
        return f"{milliseconds / 1000:.0f} s"
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 9.95 else f"{milliseconds:.1f} ms"


def share_words(share: float) -> str:
    """A share of 1 in percent: `38%`."""
    return f"{share * 100:.0f}%"


def bytes_words(size: float) -> str:
    """Bytes: `812 B`, `3.1 kB`, `64 MB`, `1.2 GB`; steps of 1024."""
    for unit in ("B", "kB", "MB"):
        if size < 1023.5:
            return f"{size:.0f} {unit}" if size >= 9.95 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


def traffic_words(traffic: Traffic | None) -> list[str]:
    """What flows, as words to be put side by side: the rate, how long it takes, and what fails last. Empty when nobody
    measures it."""
    if traffic is None:
        return []
    found = [rate_words(traffic.rate)]
    if traffic.p50_ms is not None and traffic.rate:
        found.append(f"p50 {ms_words(traffic.p50_ms)}")
    if traffic.p99_ms is not None and traffic.rate:
        found.append(f"p99 {ms_words(traffic.p99_ms)}")
    if traffic.errors:
        found.append(f"{rate_words(traffic.errors)} fail")
    return found
