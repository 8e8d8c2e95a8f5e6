"""Octets to lines and replies, and back. Pure: no state machine, no input or output, no clock."""
