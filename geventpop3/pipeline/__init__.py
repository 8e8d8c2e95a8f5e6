"""Events, plugins and listeners. Of POP3 this package uses Reply alone: no sockets, no gevent, no clock."""
