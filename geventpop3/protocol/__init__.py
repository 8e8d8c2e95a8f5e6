"""The session of RFC 1939 as a state machine without input or output. No input octets make it raise."""
