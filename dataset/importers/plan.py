"""Plan of an import: which stacks of which files it writes, and their names."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgaf.base.bounds import Planes, PositionUm, StepUm, require_bounded
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.files import require_all_new
from fgaf.dataset.importers.images import IMAGE_SUFFIXES
from fgaf.dataset.importers.ndtiff import ndtiff_folder
from fgaf.dataset.importers.ome_zarr import is_zarr
from fgaf.dataset.importers.open_series import open_series
from fgaf.dataset.importers.tiff import is_of_set
from fgaf.dataset.importers.tiff_file import holds_pages, is_tiff
from fgaf.dataset.importers.zstack import AXES, Series
from fgaf.dataset.raw import SUFFIX
from fgaf.dataset.storage.optics import Optics


@dataclass(frozen=True)
class ImportSettings:
    """Metadata that the user gives; None or empty to take them from the files.

    Attributes
    ----------
    step_um
        Distance of neighbouring planes, in drive µm.
    center_um
        Drive position of the middle plane, for files without recorded positions; 0 by default.
    optics
        Optics; a file that contradicts them is refused.
    sample_id, operator, field
        Recorded with every stack. `field` names the field of view that repeats share.
    ignore_metadata
        Take z step, positions, order of planes and pixel size only from these settings.
    highest_first
        The first plane is the highest, for files that do not say their order.
    planes
        For TIFFs whose pages hold several passes through z without saying so: planes per pass;
        each pass is a time point.
    axes
        For TIFFs with more than three axes without names: letters, see `open_tiff`.
    take
        Which positions, time points or channels to take: axis name, as in `AXES`, to a number, a
        range ``start:stop:step`` or ``all``, counted from 0.
    """

    step_um: StepUm | None = None
    center_um: PositionUm | None = None
    optics: Optics = dataclasses.field(default_factory=Optics)
    sample_id: str = ""
    operator: str = ""
    field: str = ""
    ignore_metadata: bool = False
    highest_first: bool = False
    planes: Planes | None = None
    axes: str = ""
    take: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        require_bounded(self)


@dataclass(frozen=True)
class Planned:
    """One stack to import, and the file to which it is written.

    Attributes
    ----------
    source
        File or folder.
    index
        Axis name to number, for axes along which the source has several stacks.
    target
        The raw stack file.
    field
        Name of the field of view; empty for a separate field.
    overwrite
        Whether the target may be replaced.
    """

    source: Path
    index: dict[str, int]
    target: Path
    field: str
    overwrite: bool = False


def plan_stacks(
    sources: Iterable[Path],
    folder: Path,
    settings: ImportSettings,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Planned]:
    """List what an import would write, without writing.

    A set of files is one source: if several of its files are named, the first is taken.

    Parameters
    ----------
    sources, folder, settings, overwrite
        As `import_stacks`.
    tell
        Prints a line that says which sources belong to one set.

    Raises
    ------
    SettingError, FormatError, ExistsError
        As `import_stacks`, which writes the files.
    """
    planned: list[Planned] = []
    sets: list[tuple[Path, set[Path]]] = []
    repeats: dict[Path, list[Path]] = {}
    for source in sources:
        first = next((first for first, others in sets if source.resolve() in others), None)
        if first is not None:
            repeats.setdefault(first, []).append(source)
            continue
        with open_series(source, settings.planes, settings.axes) as series:
            planned += _plans_of(series, source, folder, settings)
            sets.append((source, {member.resolve() for member in series.members}))
    for first, others in repeats.items():
        more = others[0].name if len(others) == 1 else f"{len(others)} more of the files named"
        tell(f"{first.name} and {more} are one set, taken once")
    times = Counter(plan.target for plan in planned)
    twice = [target.name for target, n in times.items() if n > 1]
    if twice:
        raise SettingError(
            f"several sources would become {twice[0]}; rename one or import them into two folders"
        )
    require_all_new((plan.target for plan in planned), overwrite)
    return [dataclasses.replace(plan, overwrite=overwrite) for plan in planned]


def find_sources(paths: Iterable[Path]) -> list[Path]:
    """Resolve the named sources: a folder of stacks is replaced by its stacks.

    A folder of multi-page TIFFs, or of a file set with its own index, is replaced by those files;
    a folder of other single-page images is one stack.

    Raises
    ------
    FgafError
        A folder holds no images.
    """
    found: list[Path] = []
    for path in paths:
        found += _inside(path) if path.is_dir() and not _is_one(path) else [path]
    return found


def _inside(folder: Path) -> list[Path]:
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    images = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES]
    stacks = [p for p in inside if (p.is_dir() and _is_one(p)) or p.suffix.lower() == ".nd2"]
    if images and _holds_stacks(images):
        return sorted(stacks + images)
    if stacks:
        return stacks
    if not images:
        raise FgafError(
            f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}); name another folder"
        )
    return [folder]


def _is_one(folder: Path) -> bool:
    """Whether a folder is itself one image."""
    return is_zarr(folder) or ndtiff_folder(folder) is not None


def stack_name(source: Path) -> str:
    """Name of the stack of a source, without ``.ome.tif``, ``.tiff`` or similar suffixes."""
    name = source.resolve().name if source.is_dir() else source.stem
    for ending in (".zarr", ".ome"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _holds_stacks(images: Sequence[Path]) -> bool:
    return all(is_tiff(p) for p in images) and (holds_pages(images[0]) or is_of_set(images[0]))


def _plans_of(
    series: Series, source: Path, folder: Path, settings: ImportSettings
) -> list[Planned]:
    sizes = series.sizes
    for axis, which in settings.take.items():
        if axis not in sizes and which not in ("0", "all"):
            raise SettingError(f"--take {axis}={which}: {source} has only one {axis}; leave it out")
    missing = [axis for axis in sizes if axis not in settings.take]
    if missing:
        options = " ".join(f"--take {axis}=0" for axis in missing)
        raise SettingError(
            f"{source} holds several z-stacks ({series}); choose with {options}, or all; each "
            "becomes a separate stack"
        )
    chosen = {axis: _numbers(source, axis, settings.take[axis], n) for axis, n in sizes.items()}
    name = series.name or stack_name(source)
    found = []
    for numbers in itertools.product(*chosen.values()):
        index = dict(zip(chosen, numbers, strict=True))
        tags = {
            axis: f"_{axis[0]}{number:0{len(str(sizes[axis] - 1))}}"
            for axis, number in index.items()
        }
        target = folder / f"{name}{''.join(tags.values())}{SUFFIX}"
        # Times and channels of one position show one field; each position is a separate field.
        repeats = any(len(chosen[axis]) > 1 for axis in index if axis != "position")
        place = tags.get("position", "") if len(chosen.get("position", ())) > 1 else ""
        own = name + tags.get("position", "") if repeats else ""
        field = settings.field + place if settings.field else own
        found.append(Planned(source, index, target, field))
    return found


def _numbers(source: Path, axis: str, which: str, n: int) -> range:
    """Resolve ``3``, ``0:10:2`` or ``all`` among n."""
    try:
        if which == "all":
            return range(n)
        if ":" in which:
            found = range(n)[slice(*(int(part) if part else None for part in which.split(":")))]
        else:
            found = range(n)[int(which) : int(which) + 1 or None]
    except (ValueError, TypeError) as error:
        raise SettingError(
            f"--take {axis}={which}: give a number, a range such as 0:10 or 0:100:5, or all"
        ) from error
    if not found:
        raise SettingError(
            f"--take {axis}={which}: {source} has {n} {AXES[axis]}, numbered 0 to {n - 1}"
        )
    return found
