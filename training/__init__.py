"""Training: `lrae-train` (floor 4)."""
