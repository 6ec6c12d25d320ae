"""An issuer of tokens: keys of every kind, and a real HTTP server that publishes them, or fails to."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from microgateway.entities import TokenIssuer, TokenIssuerSpec
from tests.kit.configuration import UNLIMITED, WHEN
from tests.kit.waiting import PATIENCE

NAME = "https://issuer.example"


@lru_cache
def rsa_key(number: int = 0, bits: int = 2_048) -> rsa.RSAPrivateKey:
    """Made once for all tests of a process: that takes a while."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key for one algorithm, under the name that the issuer gives it."""

    key_id: str
    algorithm: str
    private: Any

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.key_id, **header})

    def public(self, **members: Any) -> dict[str, Any]:
        """As it is published (RFC 7517)."""
        kind: Any = {"E": ECAlgorithm, "R": RSAAlgorithm, "P": RSAAlgorithm}[self.algorithm[0]]
        if self.algorithm == "EdDSA":
            kind = OKPAlgorithm
        jwk = kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.key_id, "alg": self.algorithm, "use": "sig", **members}


def signing_key(key_id: str = "one", algorithm: str = "ES256", *, number: int = 0) -> SigningKey:
    curves: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    if algorithm == "EdDSA":
        return SigningKey(key_id, algorithm, ed25519.Ed25519PrivateKey.generate())
    if algorithm in curves:
        return SigningKey(key_id, algorithm, ec.generate_private_key(curves[algorithm]()))
    return SigningKey(key_id, algorithm, rsa_key(number))


def token_issuer(url: str, issuer_id: str = "iss_1", **fields: Any) -> TokenIssuer:
    usual = {
        "name": "others",
        "issuer": NAME,
        "jwks_url": url,
        "algorithms": ["ES256"],
        "requests_per_minute": UNLIMITED,
        "burst_size": UNLIMITED,
    }
    spec = TokenIssuerSpec.model_validate(usual | fields)
    return TokenIssuer(**spec.model_dump(), id=issuer_id, created_at=WHEN, updated_at=WHEN)


@dataclass(slots=True)
class KeyServer:
    """What is published at `url`, to be changed at will. `fetches` counts those that are answered."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    fetches: int = 0
    asked: int = 0
    may_answer: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def document(self) -> bytes:
        return json.dumps({"keys": self.keys}).encode() if self.body is None else self.body

    def wait_for(self, *, asked: int = 0, fetches: int = 0) -> None:
        """Until so many fetches have come, and so many were answered."""
        with self.changed:
            there = self.changed.wait_for(lambda: self.asked >= asked and self.fetches >= fetches, PATIENCE)
        assert there, (self.asked, self.fetches)


@contextlib.contextmanager
def running_key_server(*keys: SigningKey) -> Iterator[KeyServer]:
    """Answers at once, unless `may_answer` is cleared."""
    server = KeyServer(keys=[key.public() for key in keys])
    server.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with server.changed:
                server.asked += 1
                server.changed.notify_all()
            server.may_answer.wait(PATIENCE)
            body = server.document()
            self.send_response(server.status)
            for name, value in {"Content-Length": str(len(body)), **server.fields}.items():
                self.send_header(name, value)
            self.end_headers()
            with server.changed:  # first: who has the answer may look at the count
                server.fetches += 1
                server.changed.notify_all()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/keys"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.may_answer.set()
        http.shutdown()
        http.server_close()
        thread.join(PATIENCE)
