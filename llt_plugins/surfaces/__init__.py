"""Slices through the loss surface and spectra of weights; knows nothing of the framework.

Everything works on a ``torch.nn.Module``, flat vectors of its trainable parameters in the
order of ``model.parameters()`` (that of the curvature package) and lists of scores, where
``score(model)`` recomputes the scores of every term of one fixed micro-batch.
"""
