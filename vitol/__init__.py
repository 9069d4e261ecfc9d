"""Weakly supervised object localization with vision transformers: the ViTOL paper, reproducible."""

from importlib.metadata import version

__version__ = version("vitol")
