"""Observers that tell other programs of a sweep."""
