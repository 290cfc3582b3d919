"""llt: the loss-landscape taxonomy framework, its contracts and engine."""

__version__ = "0.1.0"
