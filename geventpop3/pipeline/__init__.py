"""Events, plugins and listeners. This package knows Reply and nothing else of POP3: no sockets, no gevent, no clock."""
