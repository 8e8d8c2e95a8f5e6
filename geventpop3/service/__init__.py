"""The bundled maildrop service: one listener on the public events, with no private door into the server.

It answers only what nobody answered before it, so a listener overrides a command and a plugin stands before it.
"""

from geventpop3.service.service import MaildropService

__all__ = ["MaildropService"]
