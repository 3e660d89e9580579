"""The picture in a terminal: the same boxes and arrows as on the page, in characters.

Pure: lines of text out of a `Picture`. Health is told by a sign and by colour; a dashed box is one that no clients come
to. Tiers that are too large for boxes become fields of signs, so that it fits 80 columns with 500 nodes.
"""

from __future__ import annotations

from tenfold.dashboard.picture.model import Picture
from tenfold.dashboard.terminal.moving import move_lines
from tenfold.dashboard.terminal.pen import FINE, PLAIN, Pen
from tenfold.dashboard.terminal.rows import picture_lines

LEAST_WIDTH = 40
"""Columns below which nothing sensible can be drawn; a narrower terminal gets lines of this width."""

__all__ = ["lines"]


def lines(picture: Picture, width: int, colour: bool, ascii: bool = False, *, tight: bool = False) -> list[str]:
    """The tiers, and the open move below them, in at most `width` columns (40 at least).

    `colour`: with escape sequences for colours; without it the lines are plain text. `ascii`: only with characters of
    ASCII. `tight`: on fewer lines, with less said of each node. Empty when there is nothing to draw (nothing was
    ever up).
    """
    pen = Pen(PLAIN if ascii else FINE, colour, tight)
    room = max(width, LEAST_WIDTH)
    found = picture_lines(pen, picture, room) if picture.tiers else []
    if picture.move is not None:
        found += ["", *move_lines(pen, picture.move, room)]
    return found
