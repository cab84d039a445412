"""The fixed parts of an exported scikit-learn file. They are written for whoever reads that file."""

from __future__ import annotations

HEADER = '''\
"""{summary}

Softwood model {fingerprint}, as a scikit-learn estimator. Needs NumPy, pandas and scikit-learn 1.6 or newer.

    import model                    # this file
    estimator = model.load()        # fitted; works in pipelines, scorers and inspection tools
    estimator.predict(frame)        # raw columns: numbers, booleans, texts; None and NaN are missing

Numbers are compared as 64-bit floats. A text that was not seen in training counts as missing.
"""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
'''

ENSEMBLE = '''\
def text_of(value):
    """Return the text by which a category is compared: whole numbers print as integers."""
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def encode(X):
    """Return float64 [rows, columns]: numbers, 0 and 1, and places among LEVELS; NaN is missing."""
    names = [name for name, _ in COLUMNS]
    if isinstance(X, pd.DataFrame):
        absent = [name for name in names if name not in X.columns]
        if absent:
            raise ValueError("the table lacks the column %r" % absent[0])
        X = X[names]
    else:
        X = pd.DataFrame(np.asarray(X))
        if X.shape[1] != len(names):
            raise ValueError("X has %d features, but this model has %d" % (X.shape[1], len(names)))
    encoded = np.empty(X.shape)
    for place, (name, kind) in enumerate(COLUMNS):
        values = X.iloc[:, place]
        if kind == "category":
            known = {level: i for i, level in enumerate(LEVELS[place])}
            codes, distinct = pd.factorize(values)
            numbers = [known.get(text_of(value), np.nan) for value in distinct]
            encoded[:, place] = np.array([*numbers, np.nan])[codes]
            continue
        encoded[:, place] = values.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(encoded[:, place]).any():
            raise ValueError("column %r holds infinity" % name)
        if kind == "boolean" and not np.isin(encoded[:, place], (0, 1)).all(where=~np.isnan(encoded[:, place])):
            raise ValueError("column %r holds what is neither true nor false" % name)
    return encoded


class Ensemble(BaseEstimator):
    """A fitted ensemble of trees; fit changes nothing."""

    def __init__(self):
        self.n_features_in_ = len(COLUMNS)
        self.feature_names_in_ = np.array([name for name, _ in COLUMNS], dtype=object)

    def fit(self, X=None, y=None, **fit_params):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def apply(self, X):
        """Return the leaf that each row reaches in each tree, as a row of VALUES."""
        x = encode(X)
        feature, threshold, left, right = map(np.array, (FEATURE, THRESHOLD, LEFT, RIGHT))
        missing_left, level_set, rows = np.array(MISSING_LEFT, bool), np.array(LEVEL_SET), np.arange(len(x))
        sets = np.array([list(marks) for marks in LEVELS_LEFT] or [[""]]) == "1"
        leaves = np.empty((len(x), len(ROOTS)), dtype=np.int64)
        for tree, root in enumerate(ROOTS):
            node = np.full(len(x), root)
            waiting = rows[feature[node] >= 0]
            while len(waiting):
                here = node[waiting]
                value = x[waiting, feature[here]]
                goes_left = np.where(np.isnan(value), missing_left[here], value <= threshold[here])
                chosen = np.flatnonzero((level_set[here] >= 0) & ~np.isnan(value))
                if len(chosen):
                    goes_left[chosen] = sets[level_set[here[chosen]], value[chosen].astype(np.int64)]
                node[waiting] = np.where(goes_left, left[here], right[here])
                waiting = waiting[feature[node[waiting]] >= 0]
            leaves[:, tree] = np.array(LEAF)[node]
        return leaves

    def sum_of_trees(self, X):
        """Return the sum before the link, one tree after another."""
        leaves, values = self.apply(X), np.array(VALUES)
        total = np.tile(np.array(BASE), (len(leaves), 1))
        for tree in range(leaves.shape[1]):
            total += values[leaves[:, tree]]
        return total
'''

CLASSIFIER = '''\
class SoftwoodClassifier(ClassifierMixin, Ensemble):
    """A fitted classifier."""

    def __init__(self):
        super().__init__()
        self.classes_ = np.array(CLASSES)

    def predict(self, X):
        """Return the label of each row: the largest sum, the first of equal ones."""
        total = self.sum_of_trees(X)
        if total.shape[1] == 1:
            return self.classes_[(total[:, 0] > (0.5 if LINK == "probability" else 0.0)).astype(int)]
        return self.classes_[total.argmax(axis=1)]

    def predict_proba(self, X):
        """Return the probability of each class, in the order of classes_."""
        total = self.sum_of_trees(X)
        if LINK == "softmax":
            powers = np.exp(total - total.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        if LINK == "sigmoid":
            power = np.exp(-np.abs(total))
            total = np.where(total >= 0, 1.0, power) / (1.0 + power)
        return np.column_stack([1.0 - total[:, 0], total[:, 0]]) if total.shape[1] == 1 else total


def load():
    """Return the estimator."""
    return SoftwoodClassifier()
'''

REGRESSOR = '''\
class SoftwoodRegressor(RegressorMixin, Ensemble):
    """A fitted regressor."""

    def predict(self, X):
        """Return the value of each row, or [rows, outputs] if there are several."""
        total = self.sum_of_trees(X)
        values = np.exp(total) if LINK == "exp" else total
        return values[:, 0] if values.shape[1] == 1 else values


def load():
    """Return the estimator."""
    return SoftwoodRegressor()
'''
