"""Drivers: one module per family of devices, found through entry points.

A driver module offers `open_camera`, `open_stage` or both, named in the entry-point groups
``fgaf.cameras`` and ``fgaf.stages``::

    def open_stage(settings: Mapping[str, Any], opening: Opening) -> Stage: ...
    def open_camera(settings: Mapping[str, Any], opening: Opening) -> Camera: ...

`settings` is the rig's ``[stage.options]`` or ``[camera.options]`` table, with ``exposure_ms``
added for a camera. The driver checks it with `fgaf.acquire.tables.parse_table`, which names the
nearest valid key for an unknown one. It imports its vendor library only when called, through
`fgaf.acquire.tables.vendor_module`, whose error names the extra to install, and lists it as
``REQUIRES = ("module",)`` for `acq devices`.
"""
