"""Sender: sources, session core, rate control, pacing, and the program `lrae-send` (floor 3)."""
