"""Errors as in TensorFlow Serving: a code, and a text of at most 1,024 characters."""

import grpc

LONGEST = 1024  # characters of a message
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429, "CANCELLED": 499,
    "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
CODES = {code.value[0]: code for code in grpc.StatusCode}  # by number


class ServingError(Exception):
    """An error that is sent to the client.

    Args:
        code: A gRPC status code by name, such as "NOT_FOUND".
        message: The text, truncated to 1,024 characters.
    """

    def __init__(self, code: str, message: str):
        # Names in requests may be invalid Unicode.
        super().__init__(message.encode(errors="replace").decode()[:LONGEST])
        self.code = grpc.StatusCode[code]

    @property
    def message(self) -> str:
        """The text."""
        return self.args[0]

    @property
    def number(self) -> int:
        """The code in messages of ModelService."""
        return self.code.value[0]

    @property
    def http_status(self) -> int:
        """The code in REST responses."""
        return HTTP_STATUS.get(self.code.name, 500)

    def without_frames(self) -> "ServingError":
        """Itself, without a traceback, whose frames would keep a request's arrays in memory."""
        self.__context__ = self.__traceback__ = None
        return self


def invalid(message: str) -> ServingError:
    """An INVALID_ARGUMENT error: the request is wrong."""
    return ServingError("INVALID_ARGUMENT", message)


def of_tensorflow(error) -> ServingError:
    """The error for a `tf.errors.OpError` of a run."""
    code = CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
    return ServingError(code.name, error.message)
