"""Built-in plugins of llt."""
