"""Which published keys are taken for which algorithm, and which tokens they verify."""

import json
from typing import Any

import jwt
import pytest

from microgateway.tokens.key_set import MOST_KEYS, KeySet, KeySetError, parse_key_set
from microgateway.tokens.parsing import ParsedToken, parse
from tests.kit.issuer import SigningKey, rsa_key, signing_key

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def published(*keys: dict[str, Any], algorithms: tuple[str, ...] = ALGORITHMS, known: KeySet = KeySet()) -> KeySet:  # noqa: B008
    return parse_key_set(json.dumps({"keys": keys}).encode(), algorithms, known)


def parsed(token: str) -> ParsedToken:
    told = parse(token.encode())
    assert isinstance(told, ParsedToken)
    return told


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_verifies_its_own_and_no_changed_token(algorithm: str) -> None:
    key = signing_key("one", algorithm)
    token = parsed(key.sign({"sub": "a"}))
    (found,) = published(key.public()).candidates(token)
    assert found.verifies(token)
    token.signed += b"x"
    assert not found.verifies(token)
    token.signature = token.signature[:-1]
    assert not found.verifies(token)
    token.signature = b""
    assert not found.verifies(token)


def test_an_rsa_key_that_names_no_algorithm_is_for_those_that_are_allowed() -> None:
    key = signing_key("one", "RS256")
    jwk = {name: value for name, value in key.public().items() if name != "alg"}
    keys = published(jwk, algorithms=("RS256", "PS512"))
    assert sorted(one.algorithm for one in keys.keys) == ["PS512", "RS256"]
    for algorithm in ("RS256", "PS512"):
        token = parsed(SigningKey("one", algorithm, key.private).sign({}))
        assert [one.verifies(token) for one in keys.candidates(token)] == [True]
    assert keys.candidates(parsed(SigningKey("one", "PS256", key.private).sign({}))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"crv": None},
        {"x": "AAAA"},
        {"x": 7},
        {"y": None},
    ],
)
def test_a_key_that_does_not_fit_is_passed_over(change: dict[str, Any]) -> None:
    assert published(signing_key().public(**change)).keys == ()


def test_weak_and_secret_keys_are_passed_over() -> None:
    weak = SigningKey("weak", "RS256", rsa_key(1, 1_024))
    assert published(weak.public(), {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}, 7, None).keys == ()  # type: ignore[arg-type]


def test_of_a_private_key_the_public_part_is_taken() -> None:
    key = signing_key("one", "RS256")
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.private, as_dict=True)
    token = parsed(key.sign({}))
    assert [
        one.verifies(token) for one in published({**jwk, "kid": "one", "key_ops": ["verify"]}).candidates(token)
    ] == [True]


def test_which_key_a_token_means() -> None:
    one, two, nameless = signing_key("one"), signing_key("two"), signing_key("")
    keys = published(one.public(), two.public())
    assert [key.key_id for key in keys.candidates(parsed(two.sign({})))] == ["two"]
    assert keys.candidates(parsed(signing_key("three").sign({}))) == []
    unnamed = parsed(jwt.encode({}, two.private, "ES256"))
    assert [key.verifies(unnamed) for key in keys.candidates(unnamed)] == [False, True]
    without_names = published(nameless.public())
    assert len(without_names.candidates(parsed(one.sign({})))) == 1


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set(document: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(document, ALGORITHMS, KeySet())


def test_a_key_that_stays_stays_the_same_object() -> None:
    one, two = signing_key("one"), signing_key("two")
    before = published(one.public(), two.public())
    after = published(two.public(), known=before)
    assert after.keys[0] is before.keys[1]
    renewed = published(signing_key("two").public(), known=before)
    assert renewed.keys[0] is not before.keys[1]


def test_no_more_than_so_many() -> None:
    jwk = signing_key().public()
    assert len(published(*[{**jwk, "kid": str(number)} for number in range(MOST_KEYS + 50)]).keys) == MOST_KEYS
