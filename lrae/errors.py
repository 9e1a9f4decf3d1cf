"""Every error that this project raises on purpose. The programs print one as one line and exit with 1."""


class LraeError(Exception):
    """Base of all deliberate errors; its text is one line that a user can act on."""


class ConfigError(LraeError):
    """A setting or argument is wrong."""


class SourceError(LraeError):
    """An input cannot be opened or read, or has no frames."""


class SinkError(LraeError):
    """An output cannot be opened or written (no display, disk full)."""


class ModelError(LraeError):
    """Weights are missing, damaged, or not the ones that the peer uses."""


class WireError(LraeError):
    """Bytes from the network are malformed. The session drops them and counts them under `reason`."""

    reason = "malformed"


class TraceError(LraeError):
    """A loss or capacity trace is malformed; the text names the file and the line."""
