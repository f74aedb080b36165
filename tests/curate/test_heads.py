"""Heads and what is not a head in single planes: simple drawings, and the simulator's truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from click import Option
from scipy import ndimage

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.errors import FgafError
from fgaf.curate.commands.main import detect_command
from fgaf.curate.detection.detect import DEFAULT_SCORE, Detections, can_be_seen, detect
from fgaf.curate.detection.doubts import doubts
from fgaf.curate.detection.scale import Scale
from fgaf.curate.tracking.follow import TRACK_SCORE
from fgaf.model.commands.bench_detection import bench_detection
from tests.curate.drawings import PIXEL_UM, Drawing, crowd

NEAR_UM = 1.5
ANGLES = (0.0, 35.0, 80.0, 140.0)
LOOKS = ((-0.31, 1.0), (-0.15, 1.0), (-0.31, 4.0))
"""Contrast of the drawing and noise in grey levels."""


def turned(away_um: float, angle: float) -> tuple[float, float]:
    return float(away_um * np.sin(np.deg2rad(angle))), float(away_um * np.cos(np.deg2rad(angle)))


def beside(angle: float, contrast: float) -> Drawing:
    return Drawing().head((0, 0), angle, contrast).head(turned(3.2, angle + 90), angle, contrast)


def amid(angle: float, contrast: float) -> Drawing:
    drawing = Drawing().head((0, 0), angle, contrast)
    for number in range(5):
        drawing.head(turned(5, angle + 72 * number), angle + 40 * number, contrast)
    return drawing


@dataclass(frozen=True)
class Drawn:
    """A drawing at an angle, with a contrast."""

    name: str
    draw: Callable[[float, float], Drawing]


HEADS = [
    Drawn("alone", lambda a, c: Drawing().head((0, 0), a, c)),
    Drawn("without a tail", lambda a, c: Drawing().head((0, 0), a, c, tail=0)),
    Drawn("4 um from an edge", lambda a, c: Drawing().head((0, 0), a, c).edge(4, a + 70, 1.13 * c)),
    Drawn("3 um from an edge", lambda a, c: Drawing().head((0, 0), a, c).edge(3, a + 90, 1.13 * c)),
    Drawn("two side by side", beside),
    Drawn("one amid five", amid),
    Drawn("7.5 um long", lambda a, c: Drawing().head((0, 0), a, c, length=7.5)),
    Drawn("7.5 um, wide", lambda a, c: Drawing().head((0, 0), a, c, length=7.5, width=4.5)),
]
GRAINY = Drawn("on grain", lambda a, c: Drawing().head((0, 0), a, c).grain(-0.52 * c, 0.7, int(a)))
"""Found in two thirds of the drawings only."""
OTHERS = [
    *(Drawn(f"{n} cocci", lambda a, c, n=n: Drawing().cocci(n, a, c)) for n in (1, 2, 3, 5)),
    *(Drawn(f"spot of {w} um", lambda _, c, w=w: Drawing().spot(w, c)) for w in (2.0, 3.5, 5.0)),
    Drawn("round, dark rim", lambda _, c: Drawing().rimmed(3.5, c)),
    Drawn("coiled tail", lambda _, c: Drawing().loop(2.0, c)),
    Drawn("an edge", lambda a, c: Drawing().edge(3, a, c)),
    Drawn("a free tail", lambda a, c: Drawing().tail(a, c)),
]


def scores_at(found: Detections, drawing: Drawing) -> list[float]:
    """Score found at each head of a drawing, 0 where there is none."""
    scores = []
    for y, x in drawing.places_px():
        near = np.hypot(found.y - y, found.x - x) * PIXEL_UM < NEAR_UM
        scores.append(float(found.score[near].max(initial=0.0)))
    return scores


@pytest.mark.parametrize(
    "case",
    [*HEADS, pytest.param(GRAINY, marks=pytest.mark.xfail(strict=True))],
    ids=lambda case: case.name,
)
def test_drawn_heads_are_found(case: Drawn) -> None:
    """Each angle meets every second look, or the one between."""
    for number, angle in enumerate(ANGLES):
        for contrast, noise in LOOKS[number % 2 :: 2]:
            drawing = case.draw(angle, contrast)
            found = detect(drawing.image(noise), PIXEL_UM, least_score=0.05)
            assert min(scores_at(found, drawing)) >= DEFAULT_SCORE, (angle, contrast, noise)


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.name)
def test_what_is_not_a_head_is_not_found(case: Drawn) -> None:
    """Each angle meets every second look."""
    looks = (*LOOKS, (0.3, 1.0))
    for number, angle in enumerate(ANGLES):
        for contrast, noise in looks[number % 2 :: 2]:
            image = case.draw(angle, contrast).image(noise)
            assert not len(detect(image, PIXEL_UM)), (angle, contrast, noise)


@pytest.mark.parametrize("count", [100, 150])
def test_a_crowd_is_found(count: int) -> None:
    drawing = crowd(count)
    found = detect(drawing.image(), PIXEL_UM)
    assert np.mean(np.array(scores_at(found, drawing)) >= DEFAULT_SCORE) >= 0.9
    assert len(found) <= 1.05 * count


@pytest.mark.parametrize("angle", ANGLES)
def test_centre_box_and_axis_are_those_of_the_head(angle: float) -> None:
    drawing = Drawing().head((0.0, 0.0), angle)
    found = detect(drawing.image(), PIXEL_UM)
    assert len(found) == 1
    y, x = drawing.places_px()[0]
    assert np.hypot(found.y - y, found.x - x)[0] * PIXEL_UM < 0.4
    off = np.rad2deg(found.angle[0]) - angle
    assert abs((off + 90) % 180 - 90) < 15
    turn = np.deg2rad(angle)
    height = np.hypot(4.7 * np.sin(turn), 3.0 * np.cos(turn)) / PIXEL_UM
    assert found.height[0] == pytest.approx(height, rel=0.25)


@dataclass(frozen=True)
class Field:
    name: str
    contrast: str
    magnification: float
    numerical_aperture: float
    seeds: tuple[int, ...]
    cells: int


FIELDS = [
    Field("bright field 40x", "brightfield", 40, 0.65, (61, 62), 12),
    Field("relief 40x", "relief", 40, 0.65, (61, 62), 12),
    Field("bright field 20x", "brightfield", 20, 0.45, (64,), 24),
    Field("relief 20x", "relief", 20, 0.45, (64,), 24),
]
UNSEEN_UM = 1.0


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_heads_are_found_in_single_planes_and_little_else(field: Field) -> None:
    """Heads in bright field are hard to see in focus, those in relief contrast out of it."""
    asked = found = finds = right = 0
    for seed in field.seeds:
        settings = SimulationSettings(
            seed=seed,
            contrast=field.contrast,
            magnification=field.magnification,
            numerical_aperture=field.numerical_aperture,
            shape=(600, 760),
            cells=field.cells,
            debris=2 * field.cells,
        )
        z = 0.0 if field.contrast == "relief" else -2.5
        image, truth = Scene(settings).expose(0.0, 0.005, z)
        heads = detect(image, settings.pixel_size_um)
        finds += len(heads)
        for cell in truth:
            away = np.hypot(heads.y - cell.y_px, heads.x - cell.x_px) * settings.pixel_size_um
            hit = bool(len(away)) and float(away.min()) < 2.5
            if cell.kind != "sperm":
                continue
            right += hit
            margin = 3.0 / settings.pixel_size_um
            inside = margin < cell.y_px < 600 - margin and margin < cell.x_px < 760 - margin
            if inside and (field.contrast == "relief" or abs(z - cell.focus_um) > UNSEEN_UM):
                asked += 1
                found += hit
    assert asked >= 12
    assert found / asked >= 0.93
    assert right / finds >= 0.93


@dataclass(frozen=True)
class Doubt:
    name: str
    draw: Callable[[], Drawing]
    pixel_um: float
    said: str


DOUBTS = [
    Doubt("all well", lambda: crowd(8, 60.0), PIXEL_UM, ""),
    Doubt("nothing there", Drawing, PIXEL_UM, "no head"),
    Doubt("pixel too large", lambda: crowd(20, 70.0), PIXEL_UM * 1.22, "--pixel-size"),
    Doubt("pixel too small", lambda: crowd(20, 70.0), PIXEL_UM / 1.22, "--pixel-size"),
    Doubt("too full", lambda: crowd(150), PIXEL_UM, "dilute"),
]


@pytest.mark.parametrize("case", DOUBTS, ids=lambda case: case.name)
def test_what_speaks_against_a_search_is_said(case: Doubt) -> None:
    image = case.draw().image()
    found = detect(image, case.pixel_um)
    said = doubts("a.png", found.length, image.shape, Scale(case.pixel_um))
    assert len(said) == bool(case.said)
    assert all(case.said in line and line.startswith("a.png: ") for line in said)


@pytest.mark.parametrize("diameter", [3.0, 6.0, 20.0])
def test_objects_of_another_length_are_found_by_it(diameter: float) -> None:
    drawing = Drawing(8 * diameter)
    places = [(-2.5, -2.0), (0.0, 0.0), (1.02, 0.0), (2.2, 2.4)]
    for y, x in places:
        drawing.disc((y * diameter, x * diameter), diameter)
    found = detect(drawing.image(), PIXEL_UM, head_um=diameter)
    expected = (np.array(places) * diameter + drawing.side_um / 2) / PIXEL_UM - 0.5
    away = np.hypot(*(expected[:, None] - np.column_stack([found.y, found.x])).transpose(2, 0, 1))
    assert len(found) == len(places)
    assert away.min(axis=1).max() * PIXEL_UM < 0.25 * diameter


def test_commands_have_the_detector_s_default_score() -> None:
    of_bench, of_detect = (
        next(each for each in command.params if each.name == "least_score")
        for command in (bench_detection, detect_command)
    )
    assert of_bench.default == DEFAULT_SCORE
    assert isinstance(of_detect, Option)
    assert f"{DEFAULT_SCORE} in images, {TRACK_SCORE} in stacks" in (of_detect.help or "")


@dataclass(frozen=True)
class Bad:
    name: str
    image: np.ndarray
    said: str


BAD = [
    Bad("colour", np.zeros((20, 20, 3), np.uint8), "one grey plane"),
    Bad("fractions", np.zeros((20, 20)), "whole grey levels"),
    Bad("tiny", np.zeros((4, 20), np.uint8), "too small"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_what_cannot_be_searched_is_refused(case: Bad) -> None:
    with pytest.raises(FgafError, match=case.said):
        detect(case.image, PIXEL_UM)


@pytest.mark.parametrize(
    ("head", "grain", "above", "seen"),
    [(0.2, 0.0, 1.7, True), (0.02, 0.0, 1.7, False), (0.2, 0.2, 1.7, False), (0.2, 0.2, 0.9, True)],
)
def test_a_head_is_seen_where_it_stands_out_of_its_ground(
    head: float, grain: float, above: float, seen: bool
) -> None:
    ground = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(90, 90)), 2)
    y, x = np.mgrid[:90, :90]
    spot = np.exp(-0.5 * ((y - 45) ** 2 + (x - 45) ** 2) / 3.0**2)
    contrast = (grain * ground / ground.std() - head * spot).astype(np.float32)
    middle = np.array([45.0])
    assert can_be_seen(contrast, middle, middle, above).tolist() == [seen]
