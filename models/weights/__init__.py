"""Weights as safetensors with a model card and metrics beside each."""
