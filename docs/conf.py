"""Sphinx configuration: `make docs` builds the site into docs/_build/html."""

import blobwatch

project = "blobwatch"
author = "The blobwatch developers"
release = version = blobwatch.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = "blobwatch"
html_theme_options = {"show_prev_next": False, "header_links_before_dropdown": 6}

# The optional libraries are replaced by mocks, so that the docs environment needs only the core package.
autodoc_mock_imports = [
    *("torch", "mlflow", "onnx", "safetensors", "sklearn", "skimage", "scipy", "matplotlib", "psutil"),
    *("alembic", "apprise", "fastapi", "starlette", "uvicorn", "PIL"),
    *("astroquery", "boto3", "botocore", "tenacity", "dask", "distributed", "pyarrow", "dvc"),
]
autodoc_typehints = "none"  # the numpydoc sections state the types
autosummary_generate = True
autodoc_default_options = {"exclude-members": "metadata, registry, Lock"}  # of SQLAlchemy and threading
numpydoc_show_class_members = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # running both notebooks takes minutes; the site shows the committed outputs
