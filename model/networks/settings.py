"""All settings of a training run: one frozen dataclass, from a preset, TOML or flags."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from fgaf.base.bounds import Bound, Epochs, Hours, Seed, Share, ShiftPx, Threads, require_bounded
from fgaf.base.errors import SettingError
from fgaf.base.inputs import read_toml
from fgaf.base.names import nearest
from fgaf.base.toml import write_toml

RANDOM = "random"

Part = TypeVar("Part")

Precision = Literal["auto", "fp32", "bf16"]
Normalise = Literal["level", "flux", "dataset"]
BackboneName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "googlenet",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "convnext",
]
SegmenterName = Literal["unext", "unext_s"]
TaskName = Literal["depth", "heads"]
BACKBONE_NAMES: tuple[str, ...] = get_args(BackboneName)
SEGMENTER_NAMES: tuple[str, ...] = get_args(SegmenterName)
NETWORKS: dict[str, tuple[str, ...]] = {"depth": BACKBONE_NAMES, "heads": SEGMENTER_NAMES}
"""Names of the networks of each task."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run; the values here are the preset `default`.

    Task
    ----
    task : "depth", the depth class of a patch, or "heads", the mask of the heads in it. The
        settings of the module, of the view and of the loss on classes are for depth only.

    Network
    -------
    backbone : for depth one of the paper's nine or `convnext`, a small one; `unext` or `unext_s`
        for heads.
    view : share of a patch's side that it uses, around the centre; 0 for a half, but at least 48
        px, or the value that initial weights from a run were trained with.
    stem_stride : of its first layer, 2 as published or 1; 0 for 1 where it uses up to 64 px.
    fgaf, width, fg, af, insertion, residual, pooling, branch_input, attention : the module and its
        choices, see `fgaf.model.networks.fgaf.FGAFSettings`.
    self_norm, self_norm_start, cross_norm, cross_norm_p, cross_norm_sites, cross_norm_counts : see
        `fgaf.model.networks.norms` and `fgaf.model.networks.backbones.DepthNetwork`; `cross_norm`
        is the partner, or "off".
    head, importance, focus_features : rivals of the module, see `fgaf.model.networks.beside`.
        `head` is "classes", a logit of each class, or "place", one number: with `loss = "ce"` the
        regression of the depth. `importance` weighs the places of the last map;
        `focus_features` gives focus measures to the network beside the image.

    Loss
    ----
    loss, wloss_normalise, smoothing, rps_weight, distance_weight, soft_width : see
        `fgaf.model.networks.losses.LossSettings`.
    targets : "between" shares a depth that lies between two classes among both, so that the
        expected depth can be exact; "class" takes the nearest class. The same on the grid.

    Heads
    -----
    bce_weight : of the cross-entropy in the loss, see `fgaf.model.networks.mask_loss.bce_dice`.
    threshold : probability from which a pixel belongs to a head.
    least_area : area of the smallest region that is a head, as a share of the median head of
        training.

    Data
    ----
    split : name of the archive's split.
    balance : draw every class equally often, rarer ones repeatedly.
    normalise : "level", "flux" or "dataset", see `fgaf.model.inference.images.Scale`; then the
        mean and deviation of the training set are removed.
    turns, shift_px, gain, offset, noise : `fgaf.model.networks.augment.AugmentSettings`.

    Optimisation
    ------------
    start : where the weights come from: "random", "sim" (the network pretrained on simulated
        cells that ships with fgaf), or a file: see `fgaf.model.inference.initial_weights`.
    epochs : passes over the training patches; 0 for 60, or more where 60 are fewer than 600 steps;
        half of both where the start is not random.
    hours : end after so many hours, even where epochs are left; the rate then falls with the share
        of the time, if that is larger than the share of the epochs. 0 for no limit.
    batch : patches of a step.
    optimizer, lr, momentum, nesterov, weight_decay : "sgd", or "adamw" without momentum; `lr` is
        the highest rate. For SGD, 0 is 0.05, 0.03 where the start is "sim", or 0.01 where it is
        another that is not random; for AdamW, a twentieth of these.
    schedule : "warmup_cosine" (linear rise over `warmup` of the run, cosine to zero), or
        "constant".
    ema : decay per step of the average of the weights, which is used instead of them; 0 for none.
    select : final weights: of the "last" epoch, or the "best" on validation.
    patience : stop after this many epochs without a better validation; 0 never stops.
    tta : average the eight symmetries of the square when predicting.
    seed : random seed.

    Machine
    -------
    precision : of training: "fp32", "bf16" (autocast, channels last) or "auto", a few timed steps.
    threads : processor threads in training; 0 for two, or what OMP_NUM_THREADS allows.
    """

    task: TaskName = "depth"

    backbone: Literal[BackboneName, SegmenterName] = "shufflenet_v2_x1_0"
    view: Share = 0.0
    stem_stride: Literal[0, 1, 2] = 0
    fgaf: bool = True
    width: Annotated[int, Bound(4, 4096)] = 256
    fg: bool = True
    af: bool = True
    insertion: Literal["last", "third", "second", "every"] = "third"
    residual: bool = True
    pooling: Literal["halve", "keep"] = "keep"
    branch_input: Literal["all", "quarter"] = "all"
    attention: Literal["sigmoid", "tanh", "none"] = "sigmoid"
    self_norm: bool = False
    self_norm_start: Annotated[float, Bound(0.01, 0.99)] = 0.95
    cross_norm: Literal["off", "sample", "channel", "depth"] = "off"
    cross_norm_p: Share = 0.25
    cross_norm_sites: Annotated[int, Bound(1, 100)] = 1
    cross_norm_counts: bool = True
    head: Literal["classes", "place"] = "classes"
    importance: bool = False
    focus_features: bool = False

    loss: Literal["ce", "smooth", "wloss", "ce_rps", "ce_distance", "soft", "corn"] = "ce_rps"
    wloss_normalise: Literal["none", "mean"] = "none"
    smoothing: Annotated[float, Bound(0, 0.999)] = 0.1
    rps_weight: Annotated[float, Bound(0, 1e6)] = 1.0
    distance_weight: Annotated[float, Bound(0, 1e6)] = 1.0
    soft_width: Annotated[float, Bound(0.01, 100)] = 0.5
    targets: Literal["class", "between"] = "between"

    bce_weight: Annotated[float, Bound(0, 1e6)] = 0.5
    threshold: Share = 0.5
    least_area: Share = 0.2

    split: str = "default"
    balance: bool = False
    normalise: Normalise = "level"
    turns: bool = True
    shift_px: ShiftPx = 6
    gain: Annotated[float, Bound(0, 10)] = 0.1
    offset: Annotated[float, Bound(0, 10)] = 0.05
    noise: Annotated[float, Bound(0, 10)] = 0.05

    start: str = RANDOM
    epochs: Epochs = 0
    hours: Hours = 0.0
    batch: Annotated[int, Bound(2, 65536)] = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Bound(0, 1e4)] = 0.0
    momentum: Annotated[float, Bound(0, 0.9999)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Bound(0, 10)] = 5e-4
    schedule: Literal["warmup_cosine", "constant"] = "warmup_cosine"
    warmup: Share = 0.2
    ema: Annotated[float, Bound(0, 0.999999)] = 0.0
    select: Literal["last", "best"] = "last"
    patience: Annotated[int, Bound(0, 100_000)] = 0
    tta: bool = True
    seed: Seed = 0

    precision: Precision = "fp32"
    threads: Threads = 0

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            _check_type(key, value)
        require_bounded(self)
        if self.backbone not in NETWORKS[self.task]:
            raise SettingError(
                f"backbone = {self.backbone!r} is no network for task = {self.task!r}; choose "
                f"from {', '.join(NETWORKS[self.task])}, or another task"
            )
        if self.width % 4:
            raise SettingError(f"width = {self.width} is not a multiple of 4; choose one")
        if self.fgaf and self.residual and self.pooling == "halve":
            raise SettingError(
                "residual = true needs pooling = 'keep': set that, or residual = false"
            )
        if self.head == "place" and self.loss == "corn":
            raise SettingError("head = 'place' gives no answers for loss = 'corn'; choose another")
        if self.backbone == "convnext" and (self.self_norm or self.cross_norm != "off"):
            raise SettingError(
                "backbone = 'convnext' has no places for CrossNorm and SelfNorm; "
                "set self_norm = false and cross_norm = 'off'"
            )

    def with_values(self, values: Mapping[str, Any]) -> "TrainSettings":
        """Replace settings by name.

        Raises
        ------
        SettingError
            An unknown name (the nearest known one is named), a value of another type, or one
            out of its bounds.
        """
        for key in values:
            if key not in _TYPES:
                raise SettingError(f"unknown setting {key!r}; {nearest(key, _TYPES)}")
        return replace(self, **{key: _coerced(key, value) for key, value in values.items()})

    def part(self, kind: type[Part]) -> Part:
        """The settings of a part of the training: those that it has by the same names.

        Parameters
        ----------
        kind
            A dataclass, such as `fgaf.model.networks.losses.LossSettings`.
        """
        return kind(**{each.name: getattr(self, each.name) for each in fields(cast("Any", kind))})


_TYPES: dict[str, Any] = get_type_hints(TrainSettings)

_LITERAL: dict[str, Any] = {
    "backbone": "resnet34",
    "view": 1.0,
    "stem_stride": 2,
    "insertion": "last",
    "residual": False,
    "pooling": "halve",
    "self_norm": True,
    "self_norm_start": 0.5,
    "cross_norm": "channel",
    "cross_norm_p": 0.5,
    "cross_norm_sites": 2,
    "loss": "wloss",
    "targets": "class",
    "gain": 0.0,
    "offset": 0.0,
    "noise": 0.0,
    "batch": 64,
    "lr": 0.01,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "constant",
    "epochs": 60,
    "select": "best",
    "tta": False,
}
"""The paper's equations and figures to the letter."""

_TRAINABLE: dict[str, Any] = {"self_norm_start": 0.95, "wloss_normalise": "mean"}
"""What the paper leaves open, chosen so that its reading trains (docs/paper.md)."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": _LITERAL | _TRAINABLE,
    "paper-literal": _LITERAL,
    "fluorescence": {
        "backbone": "resnet18",
        "view": 1.0,
        "normalise": "flux",
        "shift_px": 1,
        "gain": 0.0,
        "offset": 0.0,
        "noise": 0.005,
    },
    "heads": {
        "task": "heads",
        "backbone": "unext",
        "shift_px": 24,
        "optimizer": "adamw",
        "weight_decay": 1e-2,
        "select": "best",
        "tta": False,
    },
}
"""Presets, as differences from the values of `TrainSettings`."""


def preset(name: str) -> TrainSettings:
    """Look up a preset.

    Raises
    ------
    SettingError
        There is none of that name.
    """
    if name not in PRESETS:
        raise SettingError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return TrainSettings().with_values(PRESETS[name])


def read_settings(path: Path, base: str = "default") -> TrainSettings:
    """Read a TOML file of settings; its key `preset` names the preset it starts from.

    Parameters
    ----------
    path
        The file, flat `key = value` lines.
    base
        The preset if the file names none.

    Raises
    ------
    SettingError
        Not TOML, an unknown key or a wrong value; the line names the file.
    """
    values = read_toml(path)
    try:
        return preset(str(values.pop("preset", base))).with_values(values)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def to_toml(settings: TrainSettings) -> str:
    """Write settings as the TOML that `read_settings` reads."""
    return write_toml(asdict(settings))


def _coerced(key: str, value: Any) -> Any:
    """Accept a whole number where a float is meant, and words of earlier versions."""
    if _TYPES[key] is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (key, value) == ("schedule", "onecycle"):
        return "warmup_cosine"
    return value


def _check_type(key: str, value: Any) -> None:
    kind = _TYPES[key]
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices or isinstance(value, bool):
            hint = nearest(str(value), [str(choice) for choice in choices])
            raise SettingError(f"{key} cannot be {value!r}; {hint}")
    elif type(value) is not kind:
        raise SettingError(f"{key} = {value!r} should be of type {kind.__name__}")
