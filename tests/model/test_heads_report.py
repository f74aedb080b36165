"""The report of a network for heads: figures as in the metrics, outlines where the masks are."""

import re

import numpy as np
import pytest
from skimage.draw import polygon2mask

from fgaf.model.bench.segmentation.examples import examples, outlines
from fgaf.model.bench.segmentation.page import segmentation_page
from fgaf.model.inference.segment import Segmenter
from tests.model.learned import LearnedHeads


@pytest.fixture(scope="module")
def page(learned_heads: LearnedHeads) -> str:
    metrics, archive = learned_heads.metrics, learned_heads.archive
    tested = [(Segmenter.load(learned_heads.run), np.flatnonzero(archive.split_of_rows() == 2))]
    return segmentation_page(metrics, [metrics], tested, archive)


def test_the_figures_are_those_of_the_metrics(page: str, learned_heads: LearnedHeads) -> None:
    metrics = learned_heads.metrics
    title = re.search(r"<h1>(.*?)</h1>", page)
    assert title
    assert title[1].startswith(f"Masks overlap with the true ones by {100 * metrics['iou']:.1f} %")
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    rows = [re.findall(r"<t[hd][^>]*>\s*([^<]*?)\s*<", row) for row in table.split("<tr")[1:]]
    assert [row[0] for row in rows] == ["all", "0", "0.5", "1"]
    assert rows[0][1] == f"{metrics['iou']:.3f}"
    assert [row[-1] for row in rows] == [
        str(part["n_heads"]) for part in (metrics, *metrics["per_distance"])
    ]


def test_all_is_inside(page: str) -> None:
    """No scripts, and nothing from elsewhere."""
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    assert page.count("<svg") == 2 + 2 * 5  # figures, and the planes of both test cells


def test_examples_are_ranked(learned_heads: LearnedHeads) -> None:
    archive = learned_heads.archive
    rows = np.flatnonzero(archive.split_of_rows() == 0)
    cells = examples([(Segmenter.load(learned_heads.run), rows)], archive)
    assert [cell["why"] for cell in cells] == ["worst", "median", "best"]
    overlaps = [cell["iou"] for cell in cells]
    assert overlaps == sorted(overlaps)
    assert np.mean([plane["iou"] for plane in cells[0]["planes"]]) == pytest.approx(overlaps[0])


def test_outlines_surround_the_pixels() -> None:
    """The area inside is the mask's; a mask at the border is closed, an empty one has none."""
    mask = np.zeros((12, 16), bool)
    mask[0:5, 9:16] = True
    mask[7:11, 2:4] = True
    drawn = np.zeros((120, 160), bool)
    for line in outlines(mask).split("Z")[:-1]:
        points = np.array([pair.split() for pair in line[1:].split("L")], dtype=float)
        drawn |= polygon2mask(drawn.shape, 10 * points[:, ::-1])
    fine = np.kron(mask, np.ones((10, 10), bool))
    assert (drawn != fine).sum() < 0.08 * fine.sum()
    assert outlines(np.zeros((4, 4))) == ""
