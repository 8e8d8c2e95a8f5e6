"""A small authorization server on loopback, in threads: publishes keys, signs, introspects, and misbehaves."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

GENERATE = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Key:
    def __init__(self, key_id, algorithm, private=None):
        self.key_id = key_id
        self.algorithm = algorithm
        self.private = private or GENERATE[algorithm]()

    def public(self, **members):
        """The JWK; a member that is None is left out."""
        implementation = jwt.get_algorithm_by_name(self.algorithm)
        jwk = implementation.to_jwk(self.private.public_key(), as_dict=True)
        jwk = {**jwk, "kid": self.key_id, "use": "sig", "alg": self.algorithm, "key_ops": ["verify"], **members}
        return {name: value for name, value in jwk.items() if value is not None}

    def sign(self, claims, **header):
        return jwt.encode(claims, self.private, self.algorithm, {"kid": self.key_id, **header})


class Issuer:
    """``keys`` are published at /jwks; ``active`` maps tokens to what /introspect says of them.

    ``answer``, where set, is sent for whatever is asked: octets, or an iterable of them that may wait.
    """

    client = ("pop3 server", "s:e&c/r%t")

    def __init__(self, context=None):
        self.keys = []
        self.active = {}
        self.answer = None
        self.asked = []
        self.forms = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.serve(self)

            def do_POST(self):
                issuer.serve(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False

            def handle_error(self, request, client_address):
                pass  # the client gave up, as it should

        self.server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def claims(self, **claims):
        """What a good token says; a claim that is None is left out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": "pop3",
            "sub": "1234",
            "email": "alice@example.org",
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in {**good, **claims}.items() if value is not None}

    def serve(self, handler):
        self.asked.append((handler.command, handler.path))
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if self.answer is not None:
            for piece in [self.answer] if isinstance(self.answer, bytes) else self.answer:
                handler.wfile.write(piece)
            handler.close_connection = True
            return
        status, answer = 404, {"error": "not_found"}
        if handler.path == "/jwks":
            status, answer = 200, {"keys": [key if isinstance(key, dict) else key.public() for key in self.keys]}
        elif handler.path == "/introspect":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self.forms.append(form)
            pair = base64.b64decode(handler.headers["Authorization"].removeprefix("Basic ")).decode()
            if tuple(unquote_plus(part) for part in pair.split(":")) == self.client:
                status, answer = 200, self.active.get(form["token"], {"active": False})
            else:
                status, answer = 401, {"error": "invalid_client"}
        octets = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(octets)))
        handler.end_headers()
        handler.wfile.write(octets)
