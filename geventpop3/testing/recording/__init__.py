"""Recordings of sessions with a real server: dialogues with secrets masked, made by a proxy. The rest is pure."""
