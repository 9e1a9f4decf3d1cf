"""Packets and control messages (floor 1, no torch). The format is docs/protocol.md."""
