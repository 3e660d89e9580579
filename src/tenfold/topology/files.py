"""`[files]` in tenfold.toml: where uploads lie, and how much room they may take."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Struct

from tenfold.topology.rules import Key, Size, Text

FOLDER = "data/files"
QUOTA = 10 * 1024**3
OWNER_QUOTA = 1024**3


class FilesSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[files]`: where uploads lie, and how much room they may take."""

    folder: Annotated[
        str,
        Key(
            Text(r"[^\x00-\x1f\x7f]{1,1024}", 'the path of a folder, such as "data/files"'),
            "Seen from `.tenfold`, unless it is absolute. Move what is in it before you change it.",
        ),
    ] = FOLDER
    quota: Annotated[
        int, Key(Size("1MB", "1024TB"), "All uploads together; more get 507, before the disk of the database is full.")
    ] = QUOTA
    owner_quota: Annotated[int, Key(Size("1KB", "1024TB"), "The uploads of one owner together; more get 507.")] = (
        OWNER_QUOTA
    )


class FilesMap(msgspec.Struct, frozen=True):
    """Where uploads lie, seen from the map's `state` unless it is absolute, and quotas in bytes."""

    folder: str = FOLDER
    quota: int = QUOTA
    owner_quota: int = OWNER_QUOTA


def files_map(spec: FilesSpec) -> FilesMap:
    """What processes see of it."""
    return FilesMap(spec.folder, spec.quota, spec.owner_quota)
