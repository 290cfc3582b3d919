"""The store: one folder a cell, written beside and renamed; everything else is a cache."""

from llt_core.store.cells import Store
from llt_core.store.records import Checkpoint, Epoch, Failure, Record

__all__ = ["Checkpoint", "Epoch", "Failure", "Record", "Store"]
