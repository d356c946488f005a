"""A local server after TensorFlow Serving: many of its flags, its gRPC and REST, common errors."""
