"""Built-in perturbations."""
