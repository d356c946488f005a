"""A local server like TensorFlow Serving: many of its flags, its gRPC and REST APIs and errors."""
