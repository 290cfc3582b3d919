"""The command ``llt``: a lazy group, one file a command."""
