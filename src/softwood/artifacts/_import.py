"""``import_model``: an ensemble of another library becomes a ``HardEnsemble`` that predicts the same."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from softwood.artifacts._ensemble import HardEnsemble
from softwood.artifacts._import_catboost import from_catboost
from softwood.artifacts._import_lightgbm import from_lightgbm
from softwood.artifacts._import_sklearn import from_sklearn
from softwood.artifacts._import_xgboost import from_xgboost
from softwood.core import InputError

_ALLOWED = (
    "a fitted tree, forest, GradientBoosting or HistGradientBoosting estimator of scikit-learn; a LightGBM, XGBoost "
    "or CatBoost model; or the path of a LightGBM text file, an XGBoost JSON file or a CatBoost JSON file"
)


def import_model(source: Any) -> HardEnsemble:
    r"""Turn a trained ensemble of another library into a ``HardEnsemble`` that gives the same answers.

    Labels are equal on every row, and scores to 1e-9 (1e-5 where the library adds up in float32: XGBoost). A
    library that compares float32 values gets thresholds that decide the same for every float64 value:
    :math:`x \le t' \iff \mathrm{float32}(x) \le t`. The library is never imported here; only what was given is asked.

    Args:
        source: a fitted estimator of scikit-learn (``DecisionTree*``, ``ExtraTree*``, ``RandomForest*``,
            ``ExtraTrees*``, ``GradientBoosting*``, ``HistGradientBoosting*``); a LightGBM ``Booster`` or
            ``LGBMModel``, or its text file; an XGBoost ``Booster`` or ``XGBModel``, or its JSON file; a CatBoost
            model without categories, or its JSON file.

    Returns:
        The ensemble over the raw columns: category names where the model knows them, else their whole numbers as
        text. Means of T trees become leaves divided by T. ``counts`` holds training weights; for XGBoost, which
        keeps none, its "cover". Classes are those of the estimator; a bare booster has 0, 1, ...

    Raises:
        InputError: the source is of another kind, is not fitted, or is no whole file.
        UnsupportedError: well formed, but beyond this format (a log link, linear leaves, CatBoost's categories).

    Cost: O(N) for N nodes.

    Example:
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> tree = DecisionTreeRegressor(max_depth=1).fit([[0.0], [1.0]], [2.0, 3.0])
        >>> import_model(tree).predict([[0.25], [0.75]])
        array([2., 3.])
    """
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source))
    kinds = {kind.__module__.partition(".")[0]: kind for kind in reversed(type(source).__mro__)}
    if "lightgbm" in kinds:
        return from_lightgbm(_booster(source, "booster_").model_to_string(), getattr(source, "classes_", None))
    if "xgboost" in kinds:
        content = json.loads(bytes(_booster(source, "get_booster").save_raw("json")))
        return from_xgboost(content, getattr(source, "classes_", None))
    if "catboost" in kinds:
        return _from_catboost(source)
    if "sklearn" in kinds:
        return from_sklearn(source)
    raise InputError("this cannot be imported", got=type(source).__name__, allowed=_ALLOWED, fix="pass one of these")


def _booster(source: Any, attribute: str) -> Any:
    """Return the booster inside an estimator, or the booster itself."""
    if type(source).__name__ == "Booster":
        return source
    try:
        found = getattr(source, attribute)
        return found() if callable(found) else found
    except Exception as error:  # each library has a type of its own for "not fitted"
        raise _not_fitted(source) from error


def _not_fitted(source: Any) -> InputError:
    return InputError("the model is not fitted", got=type(source).__name__, allowed="a fitted one", fix="call fit")


def _from_catboost(source: Any) -> HardEnsemble:
    if not source.is_fitted():
        raise _not_fitted(source)
    with tempfile.TemporaryDirectory() as folder:  # CatBoost writes JSON to files only
        path = Path(folder) / "model.json"
        source.save_model(str(path), format="json")
        content = json.loads(path.read_text(encoding="utf-8"))
    classes = source.classes_ if source.classes_ is not None and len(source.classes_) else None
    return from_catboost(content, classes)


def _from_file(path: Path) -> HardEnsemble:
    if not path.is_file():
        raise InputError("no model file here", got=str(path), allowed=_ALLOWED, fix="check the path")
    try:
        text = path.read_text(encoding="utf-8")
        if not text.lstrip().startswith("{"):
            return from_lightgbm(text)
        content = json.loads(text)
    except ValueError as error:  # no UTF-8, or no JSON; the importers' own errors say more
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read as a model",
            got=str(error),
            allowed=_ALLOWED,
            fix="save it as text or JSON; binary and pickled files are not read",
        ) from error
    return from_xgboost(content) if "learner" in content else from_catboost(content)
