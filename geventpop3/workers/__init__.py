"""Several processes behind one listening socket, supervised by gunicorn's arbiter; needs geventpop3[workers].

``gunicorn -k geventpop3.workers.Worker module:pop3d`` serves an application's server. ``serve`` serves one that a
function builds, and ``Beside`` one beside a WSGI application in ``gunicorn -k gevent``. Without gunicorn the import
raises an ImportError that names the package to install.
"""

try:
    import gunicorn  # noqa: F401  # imported for a clear error if it is missing
except ImportError:
    raise ImportError("several workers need an extra: pip install 'geventpop3[workers]'") from None

from geventpop3.workers.arbiter import inherits
from geventpop3.workers.beside import Beside
from geventpop3.workers.serving import bind, identity, in_native_thread, serve
from geventpop3.workers.worker import Worker

__all__ = ["Worker", "Beside", "serve", "bind", "inherits", "identity", "in_native_thread"]
