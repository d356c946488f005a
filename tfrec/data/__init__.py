"""From raw ratings to TFRecords of rows, and from there to tf.data batches."""
