"""Loss, delay and capacity models, the link, and the UDP proxy (floor 1). Knows only datagrams."""
