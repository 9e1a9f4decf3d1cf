"""The codec in a browser: a camera or a clip through a network that the viewer breaks, beside H.264."""
