"""The version of the package; the wire has a version of its own (lrae.codec.wire)."""

VERSION = "0.1.0"
