"""Bundled listeners and plugins. Each uses public events alone, as one in an application would."""

from geventpop3.plugins.access_log import AccessLog

__all__ = ["AccessLog"]
