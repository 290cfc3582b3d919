"""Slices through the loss surface and spectra of weights; knows nothing of the framework.

Everything works on a ``torch.nn.Module``, flat vectors of its trainable parameters in the
order of ``model.parameters()`` (that of the curvature package) and lists of weighted scores:
pairs ``(weight, score)`` where ``score(model)`` recomputes the means of one fixed micro-batch.
"""
