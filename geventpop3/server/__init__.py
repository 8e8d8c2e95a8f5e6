"""The gevent side: sockets in, greenlets, deadlines. The only room that knows sockets."""
