"""Packaging of geventpop3: the core needs gevent and blinker, everything else is an extra."""

import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "geventpop3/version.py").read_text("utf-8"), re.M)[1]

EXTRAS = {
    "argon2": ["argon2-cffi>=23.1"],
    "bcrypt": ["bcrypt>=4.1"],
    "ldap": ["ldap3>=2.9.1", "pyasn1<0.7"],
    "oauth": ["PyJWT[crypto]>=2.15"],
    "proxy": ["proxy-protocol>=0.11"],
    "redis": ["redis>=5.0"],
    "workers": ["gunicorn>=27.0"],
}
TEST = [
    *sorted(requirement for extra in EXTRAS.values() for requirement in extra),
    "coverage>=7.4",
    "flask>=3.0",
    "hypothesis>=6.100",
    "mypy>=1.15",
    "pytest>=8.2",
    "scramp>=1.5",
    "setuptools>=65",
    "trustme>=1.1",
]

setup(
    name="geventpop3",
    version=VERSION,
    description="A framework for authoring POP3 servers on gevent and blinker, and a complete POP3 server built on it",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The geventpop3 authors",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["geventpop3", "geventpop3.*"]),
    package_data={"geventpop3": ["py.typed", "wire/_speedups.pyi", "testing/double/control/openapi.json"]},
    # Optional: where there is no compiler, the same is done in Python, slower.
    ext_modules=[Extension("geventpop3.wire._speedups", ["geventpop3/wire/_speedups.c"], optional=True)],
    install_requires=["gevent>=26.4", "blinker>=1.9"],
    extras_require={
        **EXTRAS,
        "test": TEST,
        "bench": ["matplotlib>=3.8"],
        "dev": [*TEST, "ruff>=0.9"],
    },
    entry_points={
        "console_scripts": ["geventpop3 = geventpop3.cli.main:main"],
        "pytest11": ["geventpop3 = geventpop3.testing.plugin"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Pytest",
        "License :: OSI Approved :: MIT License",
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
