"""The one error tree. Whoever knows what is wrong raises; one place a floor up turns it into an answer."""


class MicroGatewayError(Exception):
    """The root. `str(error)` is one line that a user can act on, and never carries a secret."""


class StartupError(MicroGatewayError):
    """The gateway can't start as it is set up: printed as one line, exit code 1."""


class ConfigurationError(MicroGatewayError):
    """An entity that an operator sent makes no sense. `field` names the culprit."""

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field


class NotFoundError(MicroGatewayError):
    """There is no such entity."""

    def __init__(self, kind: str, entity_id: str) -> None:
        super().__init__(f"There is no {kind} with the id {entity_id!r}.")
        self.kind = kind


class ConflictError(MicroGatewayError):
    """The change clashes with what is there, such as a name taken twice. `field` names the culprit."""

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field
