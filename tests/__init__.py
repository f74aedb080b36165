"""Tests. A package of this name that another distribution installs must not be taken for it."""
