"""Teach a microscope to see depth: focus stacks, archives, depth classifiers, benchmarks.

Names are imported when first used, so that a command that needs few of them starts fast; they are
listed in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
