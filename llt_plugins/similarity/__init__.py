"""How alike two networks are: in representations, predictions and weights.

Plain functions on tensors and ``torch.nn.Module``; they know nothing of the framework.
"""
