"""Papers of the ops family: relaxed operations, gradient estimators, and when to trust a gradient."""

__all__: list[str] = []
