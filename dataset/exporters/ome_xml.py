"""OME-XML of a raw stack: acquisition metadata that other programs read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree

from fgaf.dataset.formats import OME_NAMESPACE
from fgaf.dataset.raw import SUFFIX, RawStack
from fgaf.dataset.record import stack_record

_SCHEMA: Final = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def ome_xml(stack: RawStack) -> str:
    """Describe an open raw stack as one OME image in order XYZCT, with all planes in one file.

    Metadata that OME cannot hold are stored in an annotation, from which `fgaf-data import`
    restores the stack exactly.
    """
    header, optics = stack.header, stack.header.optics
    root = ElementTree.Element("OME", xmlns=_SCHEMA, Creator=header.software)
    instrument = ElementTree.SubElement(root, "Instrument", ID="Instrument:0")
    objective = {
        "LensNA": optics.numerical_aperture,
        "NominalMagnification": optics.magnification,
    }
    ElementTree.SubElement(instrument, "Objective", _attributes(objective), ID="Objective:0")
    image = ElementTree.SubElement(
        root, "Image", ID="Image:0", Name=stack.path.name.removesuffix(SUFFIX)
    )
    start_ns = int(stack.planes["time_host_ns"].min())
    if start_ns > 0:
        started = datetime.fromtimestamp(start_ns // 10**9, UTC)
        ElementTree.SubElement(image, "AcquisitionDate").text = started.isoformat()
    ElementTree.SubElement(image, "InstrumentRef", ID="Instrument:0")
    medium = _attributes({"RefractiveIndex": optics.medium_index})
    ElementTree.SubElement(image, "ObjectiveSettings", medium, ID="Objective:0")
    _pixels(image, stack, start_ns)
    ElementTree.SubElement(image, "AnnotationRef", ID="Annotation:0")
    annotations = ElementTree.SubElement(root, "StructuredAnnotations")
    comment = ElementTree.SubElement(
        annotations, "CommentAnnotation", ID="Annotation:0", Namespace=OME_NAMESPACE
    )
    ElementTree.SubElement(comment, "Value").text = stack_record(stack)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{body}'


def _pixels(image: ElementTree.Element, stack: RawStack, start_ns: int) -> None:
    n, rows, columns = stack.shape
    size = stack.header.optics.pixel_size_um
    lengths = {"X": size, "Y": size, "Z": stack.header.step_um}
    pixels = ElementTree.SubElement(
        image,
        "Pixels",
        {f"PhysicalSize{axis}": repr(um) for axis, um in lengths.items() if um is not None}
        | {f"PhysicalSize{axis}Unit": "µm" for axis, um in lengths.items() if um is not None},
        ID="Pixels:0",
        DimensionOrder="XYZCT",
        Type=str(stack.frames.dtype),
        SignificantBits=str(stack.header.bit_depth),
        SizeX=str(columns),
        SizeY=str(rows),
        SizeZ=str(n),
        SizeC="1",
        SizeT="1",
    )
    ElementTree.SubElement(pixels, "Channel", ID="Channel:0:0", SamplesPerPixel="1")
    ElementTree.SubElement(pixels, "TiffData", IFD="0", PlaneCount=str(n))
    elapsed = stack.planes["time_host_ns"] - start_ns // 10**9 * 10**9
    for plane in range(n):
        known = {"PositionZ": repr(float(stack.z_um[plane])), "PositionZUnit": "µm"}
        exposure_us = float(stack.planes["exposure_us"][plane])
        if exposure_us > 0:
            known |= {"ExposureTime": repr(exposure_us / 1e6), "ExposureTimeUnit": "s"}
        if start_ns > 0:
            known |= {"DeltaT": repr(int(elapsed[plane]) / 1e9), "DeltaTUnit": "s"}
        ElementTree.SubElement(pixels, "Plane", known, TheZ=str(plane), TheC="0", TheT="0")


def _attributes(values: dict[str, float | None]) -> dict[str, str]:
    return {name: repr(value) for name, value in values.items() if value is not None}
