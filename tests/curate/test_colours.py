"""Colours of the boxes and of the panel, as people with any kind of colour vision see them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from fgaf.curate.napari.colours import EDGE, MARKS, Colours

VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
"""What is left of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)."""
APART = 15.0
"""CIEDE2000; a difference of 2 is seen side by side, of 10 at a glance."""
NON_TEXT, TEXT = 3.0, 4.5
"""Contrasts that WCAG 2.2 asks of lines and of text."""


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> np.ndarray:
    light = np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return rgb2lab(rgb[None])[0]


def luminance(colour: str) -> float:
    return float(linear(colour) @ (0.2126, 0.7152, 0.0722))


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("vision", VISION)
def test_states_differ_for_every_vision(vision: str) -> None:
    for one, other in combinations(MARKS.values(), 2):
        apart = deltaE_ciede2000(seen(one.colour, vision), seen(other.colour, vision))
        assert apart > APART, (one, other)


def test_states_differ_without_colours() -> None:
    assert len({mark.symbol for mark in MARKS.values()}) == len(MARKS)
    assert len({mark.sign for mark in MARKS.values()}) == len(MARKS)


@pytest.mark.parametrize("state", MARKS)
def test_a_box_is_seen_on_every_ground(state: str) -> None:
    line, edge = luminance(MARKS[state].colour), luminance(EDGE)
    for ground in np.linspace(0, 1, 101):
        assert max(contrast(line, ground), contrast(edge, ground)) >= NON_TEXT, ground


@pytest.mark.filterwarnings("ignore")  # of napari
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_of_the_panel_is_read_in_both_themes(theme: str) -> None:
    colours = Colours.of(theme)
    ground = luminance(colours.ground.name())
    for name in ("text", "suggested", "decided", "warning"):
        assert contrast(luminance(getattr(colours, name).name()), ground) >= TEXT, name
