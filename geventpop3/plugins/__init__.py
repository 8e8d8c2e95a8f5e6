"""Bundled listeners and plugins: each uses the public events only, and could stand in an application of yours."""

from geventpop3.plugins.access_log import AccessLog

__all__ = ["AccessLog"]
