"""Report: one self-contained HTML file about a model, for the people who have to trust it.

``report`` writes what ships and its certificate, the trees as an interactive drawing in which a row can be typed
and followed, the candidates that were compared, how the model fares on rows that are passed, what it looks at, and
how it was made. The file loads nothing from anywhere and holds no training row.
"""

from softwood.report._page import report

__all__ = ["report"]
