"""Layers: an operation together with the parameters and settings it is called with."""
