"""Say what pyproject.toml cannot: `saccade.home` in the wheel is this very folder.

It brings `app.py`, and what `tool.setuptools.package-data` lists of the settings and checkpoints.
"""

from setuptools import find_packages, setup

setup(
    script_name="setup.py",  # itself, which stays here
    packages=["saccade.home", *find_packages(include=["model*", "saccade*", "viz*"])],
    package_dir={"saccade.home": "."},
)
