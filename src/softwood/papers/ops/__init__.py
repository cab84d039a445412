"""Papers of the ops family: relaxed operations, gradient estimators, and when to trust a gradient.

One file each; ``softwood.papers.load`` finds them by their id. What they show stands in ``softwood.ops``,
``softwood.gradients``, ``softwood.layers`` and ``softwood.losses``.
"""

__all__: list[str] = []
