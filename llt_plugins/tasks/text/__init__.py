"""What the tasks that translate share: reading, vocabulary, examples, loss."""
