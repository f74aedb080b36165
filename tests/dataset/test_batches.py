"""Batches from disk are the archive's patches, each once, well mixed, in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.batches import BlockCache, CachedImages, shuffled_batches


class Watched:
    """Images that count what is read of them."""

    chunks = (4, 2, 2)

    def __init__(self, n: int) -> None:
        self.pixels = np.arange(n * 4, dtype=np.uint16).reshape(n, 2, 2)
        self.shape, self.dtype = self.pixels.shape, self.pixels.dtype
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        self.reads.append(index.start)
        return self.pixels[index]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3000), st.integers(20, 200), st.integers(0, 9), st.floats(0.05, 1))
def test_a_pass_gives_every_row_once_and_reads_every_block_once(
    n: int, size: int, seed: int, share: float
) -> None:
    images = Watched(n)
    rows = np.flatnonzero(np.random.default_rng(seed).random(n) < share)
    cached = CachedImages(BlockCache(images, 3 * 256 * 8), rows)
    order = cached.order(np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(rows)))
    for start in range(0, len(order), size):
        places = order[start : start + size]
        np.testing.assert_array_equal(cached[places], images.pixels[rows[places]])
    assert len(images.reads) == len(set(images.reads))


def test_no_more_is_held_than_was_allowed() -> None:
    images = Watched(10_000)
    cache = BlockCache(images, 5 * 256 * 8)
    cached = CachedImages(cache, np.arange(10_000))
    for places in np.array_split(cached.order(np.random.default_rng(0)), 100):
        cached[places]
        assert sum(cache.block(n).nbytes for n in list(cache._held)) <= 5 * 256 * 8


def test_a_window_mixes_patches_from_all_over_the_file() -> None:
    images = Watched(25_600)
    cached = CachedImages(BlockCache(images, 20 * 256 * 8), np.arange(25_600))
    first = cached.order(np.random.default_rng(0))[:64]
    assert len(set((first // 256).tolist())) > 15
    assert np.ptp(first) > 12_800


def test_batches_of_an_archive_on_disk(good_archive: Path, archive: Archive) -> None:
    rows = np.flatnonzero(archive.split_of_rows() == 0)
    with Archive.open(good_archive) as opened:
        assert isinstance(opened.images, h5py.Dataset)
        batches = list(shuffled_batches(opened, rows, size=16, seed=4))
        again = list(shuffled_batches(opened, rows, size=16, seed=4))
        other = list(shuffled_batches(opened, rows, size=16, seed=5))
    assert sorted(np.concatenate([r for r, _ in batches]).tolist()) == rows.tolist()
    for here, pixels in batches:
        np.testing.assert_array_equal(pixels, archive.images[here])
    assert [r.tolist() for r, _ in batches] == [r.tolist() for r, _ in again]
    assert [r.tolist() for r, _ in batches] != [r.tolist() for r, _ in other]


@pytest.mark.parametrize("rows", [[], [3]])
def test_few_rows_make_few_batches(rows: list[int], archive: Archive) -> None:
    plain = replace(archive, images=archive.images)
    batches = list(shuffled_batches(plain, np.array(rows, int)))
    assert [r.tolist() for r, _ in batches] == ([rows] if rows else [])
