"""The gevent side: sockets in, greenlets, deadlines. The only package that knows sockets."""
