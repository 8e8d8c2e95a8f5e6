"""The bundled maildrop service: a listener that uses only the public events of the server.

It answers only what no other listener answered, so a listener can override a command and a plugin can act before it.
"""

from geventpop3.service.service import MaildropService

__all__ = ["MaildropService"]
