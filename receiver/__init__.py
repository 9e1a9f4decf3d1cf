"""Receiver: session core, deadlines, sinks, and the program `lrae-recv` (floor 3)."""
