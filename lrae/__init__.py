"""LRAE-VC: loss-resilient learned video over UDP. See docs/design.md for the picture of the whole."""

from lrae.version import VERSION as __version__

__all__ = ["__version__"]
