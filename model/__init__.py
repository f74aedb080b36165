"""Archive to trained network, for depth or for heads: training, metrics, prediction, benchmark.

Names are imported on first use, so that commands start fast; they are listed in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
