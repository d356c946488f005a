"""A local server that keeps TensorFlow Serving's contract: flags, gRPC, REST, errors."""
