"""Packaging of geventpop3: the core needs gevent and blinker, everything else is an extra."""

import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text("utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "geventpop3/version.py").read_text("utf-8"), re.M)[1]

# An index cannot show a picture of the repository, nor follow a relative link: the one goes, the others become text.
DESCRIPTION = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", README)
DESCRIPTION = re.sub(r"\[([^\]]*)\]\((?!https://|#)[^)]*\)", r"\1", DESCRIPTION)

EXTRAS = {
    "argon2": ["argon2-cffi>=23.1"],
    "bcrypt": ["bcrypt>=4.1"],
    "ldap": ["ldap3>=2.9.1", "pyasn1<0.7"],
    "oauth": ["PyJWT[crypto]>=2.15"],
    "proxy": ["proxy-protocol>=0.11"],
    "redis": ["redis>=5.0"],
    "testing": ["pytest>=8.2", "trustme>=1.1"],
    "workers": ["gunicorn>=27.0"],
}
DEV = [
    *sorted(requirement for extra in EXTRAS.values() for requirement in extra),
    "coverage>=7.4",
    "flask>=3.0",
    "hypothesis>=6.100",
    "mypy>=1.15",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    "scramp>=1.5",
    "setuptools>=70.1",
    "twine>=6.1",
]

setup(
    name="geventpop3",
    version=VERSION,
    description="A framework for authoring POP3 servers on gevent and blinker, and a complete POP3 server built on it",
    long_description=DESCRIPTION,
    long_description_content_type="text/markdown",
    author="The geventpop3 authors",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["geventpop3", "geventpop3.*"]),
    package_data={
        "geventpop3": [
            "py.typed",
            "wire/_speedups.pyi",
            "testing/double/control/openapi.json",
            "testing/double/personalities/*.toml",
        ]
    },
    # Optional: where there is no compiler, the same is done in Python, slower.
    ext_modules=[Extension("geventpop3.wire._speedups", ["geventpop3/wire/_speedups.c"], optional=True)],
    install_requires=["gevent>=26.4", "blinker>=1.9"],
    extras_require={
        **EXTRAS,
        "bench": ["matplotlib>=3.8"],
        "dev": DEV,
    },
    entry_points={
        "console_scripts": ["geventpop3 = geventpop3.cli.main:main"],
        "pytest11": ["geventpop3 = geventpop3.testing.plugin"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Pytest",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Communications :: Email :: Post-Office :: POP3",
        "Typing :: Typed",
    ],
)
