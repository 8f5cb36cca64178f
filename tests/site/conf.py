"""Sphinx' settings. The pages are the repository's own; tests/site/__main__.py lays them out."""

project = "flask_ops.production"
author = "the flask_ops.production authors"
copyright = author
extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "README"
html_theme = "furo"
html_title = "flask_ops.production"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
highlight_language = "text"
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = [
    "myst.xref_missing",  # links to files that are no pages, such as LICENSE
    "ref.ref",  # antsibull-docs links to Ansible's own documentation, which is not asked for here
]
