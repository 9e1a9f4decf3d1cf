"""Entropy coding, packetisation, state, Encoder and Decoder (floor 2)."""
