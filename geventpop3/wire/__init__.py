"""Conversion between octets and lines, arguments, and replies. Pure: no state machine, no input or output, no clock."""
