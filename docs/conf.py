"""Sphinx settings: Markdown pages, one an idea."""

project = "minicnn"
author = "The minicnn authors"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
