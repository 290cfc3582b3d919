"""Built-in curvature."""
