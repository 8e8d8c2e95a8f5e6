"""The gevent server: sockets, greenlets and deadlines. No other package uses sockets."""
