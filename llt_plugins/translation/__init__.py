"""Translating with a network: plain functions on modules and tokens.

Nothing here knows of the framework.
"""
