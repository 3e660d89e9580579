"""Plans and moves in the words of a person."""

from __future__ import annotations

from typing import Any

from tenfold.core.units import format_size

Facts = dict[str, Any]


def plan_words(plan: Facts) -> list[str]:
    """The plan as a person reads it."""
    lines = [f"{plan['service']} is on step {plan['step']}."]
    if plan["open"]:
        lines.append(open_words(plan["open"]))
    if plan["changes"]:
        lines += ["", "tenfold.toml differs from what runs; `tenfold up` brings that about:"]
        lines += [f"  {change}" for change in plan["changes"]]
    lines += plan.get("waiting", [])
    for move in plan["moves"]:
        lines += ["", f"{move['name']}: {move['title']}.", *_stage_lines(move), *_figures(move)]
    if plan.get("same"):
        lines.append(f"This code is version {plan['version']}, which runs already.")
    if plan["empty"]:
        lines.append("Nothing is to do.")
    elif plan["to_step"] != plan["step"]:
        lines += ["", f"Then it is on step {plan['to_step']}."]
    elif plan.get("version") and plan["moves"]:
        lines += ["", f"Then version {plan['version']} of its code runs."]
    return lines


def page_words(page: Facts | None) -> str:
    """Where the dashboard is, from its facts; empty where there is none."""
    if page is None:
        return ""
    if not page.get("address"):
        said = ((page.get("report") or {}).get("error") or {}).get("message", "see `tenfold logs dashboard`")
        return "starts" if page["state"] == "starting" else f"does not run: {said}"
    reads = ", read-only" if page.get("mode") == "read-only" else ""
    token = ", with the token in .tenfold/secrets/dashboard-token" if page.get("token") else ""
    return f"{page['address']}{reads}{token}"


def open_words(move: Facts) -> str:
    """One sentence about a move that is open."""
    if move["back"]:
        return f"The move {move['move']} is being undone: {move['reason']}"
    return f"The move {move['move']} is open, in its stage {move['stage']}."


def _stage_lines(move: Facts) -> list[str]:
    lines = []
    for number, stage in enumerate(move["stages"], 1):
        held = "  [writes wait]" if stage["holds_writes"] else ""
        lines.append(f"  {number:>2}  {stage['stage']:<14} {stage['says']}{held}")
        if stage["decides"]:
            lines.append("      ------------ the point of no return: until here everything can be undone")
    return lines


def _figures(move: Facts) -> list[str]:
    facts, held = move["facts"], [stage["stage"] for stage in move["stages"] if stage["holds_writes"]]
    lines = [""]
    if "rows" in facts:
        size = f", {format_size(facts['bytes'])}" if "bytes" in facts else ""
        lines.append(f"  It moves {facts['rows']:,} rows{size}.")
    if facts.get("expected_s"):
        lines.append(f"  It takes about {took_words(facts['expected_s'])} on an idle machine.")
    if held:
        expected = facts.get("expected_hold_ms")
        about = f", about {expected} ms" if expected else ""
        lines.append(f"  Writes wait from {held[0]} to {held[-1]}{about}; nothing fails, and reads go on.")
    else:
        lines.append("  Nothing waits: reads and writes go on throughout.")
    return lines + [f"  Note: {finding}" for finding in facts.get("findings", [])]


def progress_words(move: Facts) -> str:
    """How far it is, in one line."""
    progress = move.get("progress") or {}
    problem = move.get("problem")
    if problem and not progress.get("pid"):
        return f"{move['stage']}: its mover has ended and is started again: {problem['message']}"
    way = "undoing " if move["back"] else ""
    words = f"{way}{progress.get('stage') or move['stage'] or move['move']}: {progress.get('doing') or 'begins'}"
    if progress.get("total"):
        words += f"  {_amount(progress['done'], progress['unit'])} of {_amount(progress['total'], progress['unit'])}"
    elif progress.get("done"):
        words += f"  {_amount(progress['done'], progress['unit'])}"
    if progress.get("rate"):
        words += f", {_amount(round(progress['rate']), progress['unit'])}/s"
    if progress.get("left_s") is not None:
        words += f", {took_words(max(1, round(progress['left_s'])))} left"
    return words


def _amount(number: int, unit: str) -> str:
    return format_size(int(number)) if unit == "bytes" else f"{int(number):,} {unit}".rstrip()


def took_words(seconds: float | None) -> str:
    """A duration for a person: `35 ms`, `2.5 s`, `3 min 20 s`, `1 h 2 min`; `-` when it is not known."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def end_words(move: Facts) -> str:
    """How it ended, in one or two sentences."""
    facts = move["facts"]
    took = took_words(move["took_s"])
    if move["result"] == "undone":
        return f"The move {move['move']} was undone after {took}; everything is as it was before. {move['reason']}"
    rows = f", {facts['rows']:,} rows" if isinstance(facts.get("rows"), int) else ""
    held = f", writes were held for {facts['held_ms']:g} ms" if facts.get("held_ms") else ""
    left = f" A migration is left to do: {facts['migration_left']}" if facts.get("migration_left") else ""
    return f"The move {move['move']} is finished: {took}{rows}{held}.{left}"
