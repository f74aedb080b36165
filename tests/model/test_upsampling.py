"""Upsampling by two as convolutions: the numbers of bilinear interpolation, on borders too."""

from dataclasses import dataclass

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops
from torch.nn import functional as F  # noqa: N812

from fgaf.model.deploy.upsampling import fold_upsampling

RANDOM = np.random.default_rng(0)
MIX = RANDOM.normal(size=(3, 5, 1, 1)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """Sides before and after, what follows, and the operations of its kind that are left."""

    before: tuple[int, int]
    after: tuple[int, int]
    follows: str = "nothing"
    mode: str = "half_pixel"
    left: tuple[str, ...] = ()


BILINEAR = ("linear_onnx",)
CASES = [
    Case((1, 1), (2, 2)),
    Case((1, 1), (2, 2), "a mixer"),
    Case((3, 8), (6, 16)),
    Case((3, 8), (6, 16), "a mixer"),
    Case((4, 2), (8, 4), "a ReLU that two use"),
    Case((4, 2), (8, 4), "a 3 x 3 convolution"),
    Case((4, 6), (7, 12), "a mixer", left=BILINEAR),
    Case((4, 6), (8, 24), left=BILINEAR),
    Case((4, 6), (8, 12), mode="align_corners", left=BILINEAR),
]


def model_of(case: Case, shape: tuple[int, ...]) -> openvino.Model:
    """A network of upsampling and what follows; sides of the input as in `shape`."""
    x = ops.parameter(shape, np.float32)
    value = ops.interpolate(
        x, ops.constant([*case.after]), "linear_onnx", "sizes", axes=ops.constant([2, 3]),
        coordinate_transformation_mode=case.mode,
    )  # fmt: skip
    outputs = [value]
    if case.follows != "nothing":
        value = ops.relu(value)
        mix = MIX
        if case.follows == "a 3 x 3 convolution":
            mix = np.pad(MIX, ((0, 0), (0, 0), (1, 1), (1, 1)))
        edge = [mix.shape[2] // 2] * 2
        outputs = [ops.convolution(value, ops.constant(mix), [1, 1], edge, edge, [1, 1])]
        if case.follows == "a ReLU that two use":
            outputs.append(value)
    return openvino.Model(outputs, [x])


def answers(model: openvino.Model, x: np.ndarray) -> list[np.ndarray]:
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return list(openvino.Core().compile_model(model, "CPU", exact)([x]).values())


def bilinear(model: openvino.Model) -> list[str]:
    modes = [
        node.get_attributes()["mode"]
        for node in model.get_ops()
        if node.get_type_name() == "Interpolate"
    ]
    return [mode for mode in modes if mode != "nearest"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_numbers_are_those_of_interpolation(case: Case) -> None:
    x = RANDOM.normal(size=(2, 5, *case.before)).astype(np.float32)
    model = model_of(case, x.shape)
    fold_upsampling(model)
    assert tuple(bilinear(model)) == case.left
    upsampled = F.interpolate(
        torch.from_numpy(x), size=case.after, mode="bilinear",
        align_corners=case.mode == "align_corners",
    ).numpy()  # fmt: skip
    expected = [upsampled]
    if case.follows != "nothing":
        expected = [
            np.einsum("oc,nchw->nohw", MIX[:, :, 0, 0], upsampled.clip(0)),
            upsampled.clip(0),
        ]
    for mine, true in zip(answers(model, x), expected, strict=False):
        assert mine.shape == true.shape
        assert np.allclose(mine, true, atol=1e-5)


def test_shapes_that_vary_are_left_as_they_are() -> None:
    model = model_of(CASES[2], (-1, 5, -1, -1))
    fold_upsampling(model)
    assert bilinear(model) == ["linear_onnx"]
