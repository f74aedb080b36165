"""Block numbers of a Basler camera's frames, which reveal a lost or a repeated frame."""

from __future__ import annotations

from typing import Final

from fgaf.acquire.devices import DeviceError

_FIRST_BLOCKS: Final = {"BaslerUsb": (0,), "BaslerGigE": (1,)}
_LAST_GIGE_BLOCK: Final = 65535


class Blocks:
    """Checks the block numbers of a camera from its start.

    They begin at 0 on USB and at 1 on GigE. On GigE they may wrap around after 65535, and 0 means
    that the camera does not count.

    Parameters
    ----------
    device_class
        pylon's name of the transport: ``BaslerUsb``, ``BaslerGigE``.
    name
        Model and serial number, for the errors.
    """

    def __init__(self, device_class: str, name: str) -> None:
        self._name = name
        self._is_gige = device_class == "BaslerGigE"
        self._first = _FIRST_BLOCKS.get(device_class, (0, 1))
        self._last: int | None = None

    def restart(self) -> None:
        """Start again, as the camera does when it is started."""
        self._last = None

    def skip(self) -> None:
        """Count a broken frame, whose number cannot be read."""
        if self._last is not None:
            self._last = self._after(self._last)

    def require_next(self, block: int) -> None:
        """Refuse a gap or a repeat.

        Raises
        ------
        DeviceError
            A frame was lost or came twice.
        """
        if self._is_gige and block == 0:
            return
        last, self._last = self._last, block
        follows = block in self._first if last is None else block in (last + 1, self._after(last))
        if not follows:
            raise DeviceError(
                f"{self._name} gave block {block} after {'the start' if last is None else last}: a "
                "frame was lost or came twice; check cable and bandwidth"
            )

    def _after(self, block: int) -> int:
        return 1 if self._is_gige and block == _LAST_GIGE_BLOCK else block + 1
