"""Marks of tests that open a real window."""

import contextlib
import os
import sys

import pytest

with contextlib.suppress(ImportError):
    # torch's compiler brings an LLVM that ends the process if it is loaded after the one of Mesa,
    # which draws windows where there is no graphics card.
    import triton  # noqa: F401

needs_screen = pytest.mark.skipif(
    sys.platform == "linux" and "DISPLAY" not in os.environ, reason="no screen; see `make test`"
)
# Warnings of the libraries below the window are not ours to mend.
on_screen = [pytest.mark.filterwarnings("ignore"), needs_screen]
