"""What goes into the wheel; `pyproject.toml`, which has the rest, cannot put a folder beside the package into it."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["spd_core*", "app*"]), "spd_core.assets"],
    package_dir={"spd_core.assets": "assets"},
    package_data={
        "spd_core.assets": [
            "capabilities/**",
            "demo/**",
            "plotly/**",
            "slurm/**",
            "studies/**",
            "templates/**",
        ],  # screenshots are the README's
        "app": ["icon.svg", "back.js", "phone_menu.js", "*/*.css", "*/*.js", ".streamlit/config.toml"],
    },
)
