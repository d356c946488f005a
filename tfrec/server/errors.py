"""Errors in TensorFlow Serving's form: a code, and a text cut at 1,024 characters."""

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
    """What a client is told.

    Args:
        code: A gRPC status code by name, such as "NOT_FOUND".
        message: The text; cut at 1,024 characters.
    """

    def __init__(self, code: str, message: str):
        # Names in requests may be no Unicode.
        super().__init__(message.encode(errors="replace").decode()[:LONGEST])
        self.code = grpc.StatusCode[code]

    @property
    def message(self) -> str:
        """The text."""
        return self.args[0]

    @property
    def number(self) -> int:
        """The code as the messages of ModelService carry it."""
        return self.code.value[0]

    @property
    def http_status(self) -> int:
        """The code as REST gives it."""
        return HTTP_STATUS.get(self.code.name, 500)

    def without_frames(self) -> "ServingError":
        """Itself, ready to be answered: the frames of a traceback keep a request's arrays."""
        self.__context__ = self.__traceback__ = None
        return self


def invalid(message: str) -> ServingError:
    """The commonest: the request itself is wrong."""
    return ServingError("INVALID_ARGUMENT", message)


def of_tensorflow(error) -> ServingError:
    """A `tf.errors.OpError` of a run."""
    code = CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
    return ServingError(code.name, error.message)
