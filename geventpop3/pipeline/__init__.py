"""Events, plugins and listeners. This room knows Reply and nothing else of POP3: no sockets, no gevent, no clock."""
