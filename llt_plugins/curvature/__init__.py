"""Second-order quantities of plain torch models; knows nothing of the framework.

Everything works on a ``torch.nn.Module`` and a list of weighted losses: pairs
``(weight, loss)`` where ``loss(model)`` recomputes the mean loss of one fixed micro-batch.
"""
