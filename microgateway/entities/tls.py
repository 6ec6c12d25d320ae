"""TLS between the gateway and others, and the files that it takes."""

import re
import ssl
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from microgateway.entities.spec import Spec
from microgateway.route_parts import refuse_control_characters

SERVER_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
FilePath = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(refuse_control_characters)]


def _refuse_missing(file: str) -> None:
    """A pipe or a device counts as missing: reading it could take for ever."""
    path = Path(file)
    try:
        if path.is_file():
            with path.open("rb"):
                return
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    raise ValueError("there is no such file on the gateway's machine")


class TlsSpec(Spec):
    """How TLS is spoken with a service whose URL is https. Files are in PEM form, on the gateway's machine."""

    verify: bool = Field(True, description="Believe only a certificate for this host, by an authority that is trusted.")
    ca_file: FilePath | None = Field(None, description="Who is trusted, instead of the authorities of the system.")
    client_cert_file: FilePath | None = Field(None, description="What the gateway shows the service of itself.")
    client_key_file: FilePath | None = Field(None, description="Left out: the key is in `client_cert_file`.")
    server_name: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="The name to ask for and to find in the certificate, instead of the URL's host."
    )

    @field_validator("server_name", mode="after")
    @classmethod
    def check_server_name(cls, name: str | None) -> str | None:
        if name is None:
            return None
        name = name.lower().rstrip(".")
        if not SERVER_NAME.fullmatch(name):
            raise ValueError("this is not a host name")
        return name

    @model_validator(mode="after")
    def check_key(self) -> Self:
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file is the key of client_cert_file, which is left out")
        return self


class UsableTls(TlsSpec):
    """The same, with the files read: what can't be used is refused when it is sent, not when it is needed."""

    @field_validator("ca_file", mode="after")
    @classmethod
    def read_ca_file(cls, file: str | None) -> str | None:
        if file is not None:
            _refuse_missing(file)
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
            except ssl.SSLError:
                raise ValueError("there is no certificate in PEM form in this file") from None
        return file

    @field_validator("client_cert_file", "client_key_file", mode="after")
    @classmethod
    def read_file(cls, file: str | None) -> str | None:
        if file is not None:
            _refuse_missing(file)
        return file

    @field_validator("client_key_file", mode="after")
    @classmethod
    def load_pair(cls, key_file: str | None, info: ValidationInfo) -> str | None:
        certificate = info.data.get("client_cert_file")
        if certificate is not None:
            try:
                # With a password, or OpenSSL would ask for one on the terminal
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key_file, password="")
            except ssl.SSLError as error:
                reason = error.reason or "they are not in PEM form"
                raise ValueError(f"the client certificate and its key can't be used ({reason})") from None
        return key_file
