"""A small llt plugin to copy from: two metrics and an observer."""
