"""What ``gunicorn -k geventpop3.workers.Worker workers_app:pop3d`` imports."""

from workers_server import make

__all__ = ["pop3d", "make", "not_a_server"]

pop3d = make()
not_a_server = len
