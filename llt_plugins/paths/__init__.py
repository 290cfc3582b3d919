"""Paths between two networks: curves, their training and evaluation, permutation alignment.

Plain functions on modules and losses: usable without the framework, knowing nothing of cells.
"""
