"""The networks, the class tables and the weights (floor 1)."""
