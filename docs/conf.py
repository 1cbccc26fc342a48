"""Sphinx: `sphinx-build docs docs/_build` after `pip install -e ".[docs]"`."""

project = "xappa"
author = "The xappa developers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Generative data assimilation with xarray"}
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
