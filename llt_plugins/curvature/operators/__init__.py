"""Second-derivative matrices of a mean loss, known through their products.

``hessian.py`` and ``gauss_newton.py`` are what others use; the rest is how their products are
made cheap (``rewriting``, ``convolution``, ``rectifier``), fit in memory (``micro_batches``,
``memory``) and mean something (``determinism``, ``copies``, ``parameters``).
"""
