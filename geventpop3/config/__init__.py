"""What an operator may say, and where: flags, environment variables and a TOML file become ``Settings``."""

from geventpop3.config.nearest import did_you_mean
from geventpop3.config.settings import CONFIG, NAMES, Setting, Settings, flag, load, settings, variable
from geventpop3.config.tables import KeptSecret, Key, read_table

__all__ = [
    "CONFIG",
    "NAMES",
    "Setting",
    "Settings",
    "flag",
    "load",
    "settings",
    "variable",
    "Key",
    "KeptSecret",
    "read_table",
    "did_you_mean",
]
