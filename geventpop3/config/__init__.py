"""What an operator may say, and where: flags, environment variables and a TOML file become ``Settings``."""

from geventpop3.config.settings import PREFIX, Setting, Settings, flag, load, settings, variable
from geventpop3.config.tables import KeptSecret, Key, read_table

__all__ = ["PREFIX", "Setting", "Settings", "flag", "load", "settings", "variable", "Key", "KeptSecret", "read_table"]
