"""Bilinear upsampling by two as convolutions, in networks that OpenVINO runs.

OpenVINO's own kernel is slow where a map has few channels. To repeat every pixel and to blur by
(1, 2, 1) / 4 along both axes gives the same values. So does, before the map is made larger, one
convolution for each of the four pixels that one becomes. A convolution sees zeros beyond the border
where there should be the pixel on it, of weight 1/4, again: values on the border are multiplied by
4/3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from openvino import Model, Node

Floats = npt.NDArray[np.float32]

_BLUR: Final = np.array([1, 2, 1], np.float32) / 4
_HALVES: Final = np.array([[1, 3, 0], [0, 3, 1]], np.float32) / 4
"""What the two pixels that one becomes have of the pixel before it, of it, and of the next."""
_HALF_PIXEL: Final = ("half_pixel", "pytorch_half_pixel")


def fold_upsampling(model: Model) -> None:
    """Turn bilinear upsampling by two into convolutions, where the shapes are fixed, in place.

    Where only a ReLU and a 1 x 1 convolution follow, they are computed before the map is made
    larger.

    Parameters
    ----------
    model
        A network; its outputs change by rounding only.
    """
    for node in model.get_ordered_ops():
        if _doubles(node):
            mixer = _mixer(node)
            old, new = (node, _blurred(node)) if mixer is None else (mixer, _mixed(node, mixer))
            for use in old.output(0).get_target_inputs():
                use.replace_source_output(new.output(0))
    model.validate_nodes_and_infer_types()


def _doubles(node: Node) -> bool:
    """Whether an operation doubles the sides of a map (N, C, H, W), bilinearly."""
    if node.get_type_name() != "Interpolate" or node.input(0).get_partial_shape().is_dynamic:
        return False
    before, after = (list(each.get_shape()) for each in (node.input(0), node.output(0)))
    how = node.get_attributes()
    return (
        len(before) == 4
        and after == [*before[:2], 2 * before[2], 2 * before[3]]
        and how["mode"] == "linear_onnx"
        and how["coordinate_transformation_mode"] in _HALF_PIXEL
    )


def _mixer(node: Node) -> Node | None:
    """The 1 x 1 convolution that alone uses an operation, after a ReLU; None if there is none."""
    for kind in ("Relu", "Convolution"):
        uses = list(node.output(0).get_target_inputs())
        if len(uses) != 1 or uses[0].get_node().get_type_name() != kind:
            return None
        node = uses[0].get_node()
    weights = node.input_value(1).get_node()
    is_mixer = weights.get_type_name() == "Constant" and list(weights.shape)[2:] == [1, 1]
    return node if is_mixer else None


def _blurred(node: Node) -> Node:
    """The upsampled map: pixels repeated, then blurred."""
    from openvino import opset13 as ops

    _, channels, rows, columns = node.output(0).get_shape()
    repeated = ops.interpolate(
        node.input_value(0),
        ops.constant([rows, columns]),
        mode="nearest",
        shape_calculation_mode="sizes",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=ops.constant([2, 3]),
    )
    kernels = np.tile(np.outer(_BLUR, _BLUR), (channels, 1, 1))
    return ops.multiply(_each(repeated, kernels), _border(rows, columns))


def _mixed(node: Node, mixer: Node) -> Node:
    """The result of the 1 x 1 convolution, from four copies of the map before upsampling."""
    from openvino import opset13 as ops

    _, channels, rows, columns = node.output(0).get_shape()
    kernels = np.stack([np.outer(y, x) for y in _HALVES for x in _HALVES])
    one = np.eye(channels, dtype=np.float32)[..., None, None]
    four = _convolved(node.input_value(0), np.tile(one, (4, 1, 1, 1)))  # concat takes longer
    pixels = ops.relu(_each(four, np.repeat(kernels, channels, axis=0)))
    weights = mixer.input_value(1).get_node().data[:, :, 0, 0]
    of_four = np.einsum("oc,pq->opqc", weights, np.eye(4)).reshape(-1, 4 * channels, 1, 1)
    mixed = _convolved(pixels, of_four.astype(np.float32))
    whole = ops.depth_to_space(mixed, "depth_first", 2)
    return ops.multiply(whole, _border(rows, columns))


def _convolved(value: Any, weights: Floats) -> Node:
    from openvino import opset13 as ops

    return ops.convolution(value, ops.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])


def _each(value: Any, kernels: npt.ArrayLike) -> Node:
    """Convolve each channel with its kernel of 3 x 3."""
    from openvino import opset13 as ops

    weights = ops.constant(np.asarray(kernels, np.float32)[:, None, None])
    return ops.group_convolution(value, weights, [1, 1], [1, 1], [1, 1], [1, 1])


def _border(rows: int, columns: int) -> Node:
    """A map of ones, on the border 4/3, in the corners 16/9."""
    from openvino import opset13 as ops

    along_y, along_x = (np.ones(n, np.float32) for n in (rows, columns))
    for factors in (along_y, along_x):
        factors[[0, -1]] = 4 / 3
    return ops.constant(np.outer(along_y, along_x)[None, None])
