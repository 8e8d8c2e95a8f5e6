"""RFC 1939's session as a state machine without input or output. It never raises on any input octets."""
