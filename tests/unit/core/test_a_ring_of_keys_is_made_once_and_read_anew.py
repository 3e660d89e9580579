"""The ring of signing keys: made by whoever is first, rotated without a restart, private."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenfold.core.clock import ManualClock
from tenfold.core.errors import StorageDamaged
from tenfold.core.keyring import KEYS_MAX, KeyRing, RingKey, read, rotated, written
from tenfold.core.randomness import SeededRandomness

DAY_S = 86_400


def ring(folder: Path, clock: ManualClock | None = None, seed: int = 1) -> KeyRing:
    return KeyRing(folder / "secrets" / "session-keys", clock or ManualClock(), SeededRandomness(seed))


def key(made_s: int, number: int = 0) -> RingKey:
    return RingKey.of(made_s, bytes([number]) * 32)


def test_the_first_who_needs_it_makes_it_and_all_get_the_same(tmp_path: Path) -> None:
    rings = [ring(tmp_path, seed=seed) for seed in range(20)]
    with ThreadPoolExecutor(20) as pool:
        found = {keys.secret for keys in pool.map(lambda each: each.signing(), rings)}
    assert len(found) == 1
    file = rings[0].path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_process_that_meets_an_unknown_key_looks_at_the_file_at_once(tmp_path: Path) -> None:
    here, there = ring(tmp_path, seed=1), ring(tmp_path, seed=2)
    old = here.signing()
    assert there.signing() == old
    here.rotate(DAY_S)
    new = here.keys()[0]
    assert new != old
    assert there.named(new.name) == new
    assert there.named(old.name) == old, "cookies of the old one still count"
    assert there.named(b"none") is None


def test_a_process_signs_with_the_new_key_within_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    here, there = ring(tmp_path, seed=1), ring(tmp_path, clock, seed=2)
    old = there.signing()
    here.rotate(DAY_S)
    assert there.signing() == old
    clock.advance(1.0)
    assert there.signing() == here.keys()[0]


def test_a_ring_that_was_removed_is_another_one_within_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    here = ring(tmp_path, clock)
    old, readings = here.signing(), here.readings
    here.path.unlink()
    clock.advance(1.0)
    assert here.signing().name != old.name
    assert here.readings > readings
    assert here.named(old.name) is None


def test_a_key_goes_when_all_that_it_signed_is_over() -> None:
    keys = (key(90 * DAY_S, 3), key(60 * DAY_S, 2), key(0, 1))
    new = key(100 * DAY_S, 4)
    assert rotated(keys, new, 30 * DAY_S) == (new, keys[0], keys[1]), "the last one signed until day 60"
    assert rotated(keys, new, 40 * DAY_S) == (new, *keys)
    assert rotated(keys, new, 9 * DAY_S) == (new, keys[0])
    assert len(rotated((key(0),) * 200, new, DAY_S * 1000)) == KEYS_MAX


@pytest.mark.parametrize(
    "text", ["", "x", "1 zz", f"1 {'00' * 31}", f"-- {'00' * 32}", f"1  {'00' * 32}", f"1 {'00' * 32} 3"]
)
def test_a_file_that_is_no_ring_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    found = ring(tmp_path)
    found.ensure()
    found.path.write_text(text + "\n")
    with pytest.raises(StorageDamaged):
        ring(tmp_path).signing()


def test_a_ring_that_cannot_be_made_is_nobodys_bad_request(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file is in the way")
    with pytest.raises(StorageDamaged) as refused:
        ring(tmp_path).signing()
    assert not refused.value.public, "clients are not told of paths"


def test_what_is_written_is_read_back() -> None:
    keys = (key(2, 2), key(1, 1))
    assert read(written(keys)) == keys
