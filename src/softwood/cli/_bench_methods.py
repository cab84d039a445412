"""The methods that ``softwood bench trees`` compares: ours, CART, and other libraries where they are installed.

Every method gets the same rows and columns and the same size. A tree may be as deep as ours; a forest may hold so many
leaf values, a leaf of K outputs counting K. Boosters are tuned by 5-fold search over one grid, early stopping on the
folds; a peer whose size cannot be tuned is given the largest that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from softwood.cli._bench_tables import BenchTable


@dataclass(frozen=True)
class Plan:
    """What the methods are held to.

    Args:
        max_depth: of one tree.
        size: leaf values of a forest.
        seed: of everything random.
        quick: search little, to see that all works.
    """

    max_depth: int
    size: int
    seed: int
    quick: bool

    @property
    def effort(self) -> float:
        """Of our learners."""
        return 0.1 if self.quick else 1.0

    @property
    def folds(self) -> int:
        """Of the search for a peer's settings."""
        return 3 if self.quick else 5

    @property
    def levels(self) -> tuple[int, ...]:
        """The grid: a tree of d levels, or of 2^d leaves."""
        return (3,) if self.quick else (2, 3, 4)

    @property
    def rates(self) -> tuple[float, ...]:
        """The grid: learning rates."""
        return (0.4,) if self.quick else (0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says about the test rows.

    Args:
        found: class probabilities ``[m, classes]``, or values ``[m]``.
        leaf_values: size of what answered.
        agreement: share of test rows that the soft and the hard model label alike; None where there is only one model.
    """

    found: np.ndarray
    leaf_values: int
    agreement: float | None = None


Run = Callable[["BenchTable", np.ndarray, np.ndarray, Plan], Answer]


@dataclass(frozen=True)
class Method:
    """One competitor.

    Args:
        name: as it is printed.
        kind: ``"tree"`` or ``"forest"``: which of our two it is compared with.
        module: what has to be installed, or None.
        run: fits on training rows and answers test rows.
    """

    name: str
    kind: str
    module: str | None
    run: Run


# ------------------------------------------------------------------ one tree
def _cart(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    """scikit-learn's tree, tuned within the depth; its shares are pulled to the mean by the weight of one row."""
    import pandas as pd
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    x = pd.get_dummies(table.coded, dtype=float)
    grid: dict[str, list[Any]] = {"min_samples_leaf": [1, 5, 20], "ccp_alpha": [0.0, 0.0005, 0.001, 0.002, 0.005, 0.01]}
    if plan.quick:
        grid = {"min_samples_leaf": [5], "ccp_alpha": [0.0]}
    if not table.classes:
        scale = float(table.y[train].var())  # of squared errors
        grid["ccp_alpha"] = [scale * alpha for alpha in grid["ccp_alpha"]]
        tree = DecisionTreeRegressor(max_depth=plan.max_depth, random_state=plan.seed)
        search = GridSearchCV(tree, grid, cv=_folds(table, plan), scoring="neg_mean_squared_error")
        best = search.fit(x.iloc[train], table.y[train]).best_estimator_
        return Answer(best.predict(x.iloc[test]), int(best.get_n_leaves()))
    tree = DecisionTreeClassifier(max_depth=plan.max_depth, random_state=plan.seed)
    search = GridSearchCV(tree, {**grid, "criterion": ["gini", "entropy"]}, cv=_folds(table, plan))
    best = search.fit(x.iloc[train], table.y[train]).best_estimator_
    leaf, inside, weight = best.apply(x.iloc[test]), best.tree_.value[:, 0], best.tree_.weighted_n_node_samples[:, None]
    shares = ((inside * weight + inside[0]) / (weight + 1))[leaf]
    return Answer(_widened(shares, best.classes_, table), int(best.get_n_leaves()) * table.outputs)


def _tree(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan, progress: Any = None) -> Answer:
    from softwood.trees import TreeClassifier, TreeRegressor

    learner = (TreeClassifier if table.classes else TreeRegressor)(
        max_depth=plan.max_depth, effort=plan.effort, random_state=plan.seed, n_jobs=1, progress=progress
    )
    return _ours(learner, table, train, test)


def _kicks(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    """Our tree without gradients: the search is stopped where they would begin, and keeps the best so far."""
    return _tree(table, train, test, plan, _stop_before_gradients)


def _stop_before_gradients(stage: str, done: float) -> None:
    if stage in ("gradient restarts", "annealing"):
        raise KeyboardInterrupt


def _neural_tree(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    """A soft tree of weighted sums; its agreement is that with its own hard tree."""
    module = import_module("neural_trees")
    x = _plain(table, train)
    kind = module.SoftDecisionTree if table.classes else module.SoftDecisionTreeRegressor
    settings = {"max_epochs": 3} if plan.quick else {}
    tree = kind(depth=plan.max_depth, random_state=plan.seed, **settings).fit(x[train], table.y[train])
    size = 2**plan.max_depth * table.outputs
    if not table.classes:
        return Answer(np.asarray(tree.predict(x[test])).ravel(), size)
    alike = float((tree.to_hard_tree().predict(x[test]) == tree.predict(x[test])).mean())
    return Answer(_widened(tree.predict_proba(x[test]), tree.classes_, table), size, alike)


# ------------------------------------------------------------------ forests
def _forest(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    from softwood.trees import ForestClassifier, ForestRegressor

    learner = (ForestClassifier if table.classes else ForestRegressor)(
        budget=plan.size, effort=plan.effort, random_state=plan.seed, n_jobs=1
    )
    return _ours(learner, table, train, test)


def _lightgbm(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    lgb = import_module("lightgbm")
    data = lgb.Dataset(table.coded.iloc[train], table.y[train], free_raw_data=False)
    base = {
        "verbose": -1,
        "num_threads": 1,
        "seed": plan.seed,
        **_objective(table, "regression", "binary", "multiclass"),
    }

    def curve(level: int, rate: float, rounds: int) -> np.ndarray:
        history = lgb.cv({**base, "num_leaves": 2**level, "learning_rate": rate}, data, rounds, nfold=plan.folds,
                         stratified=table.classes > 0, seed=plan.seed)  # fmt: skip
        return np.array(next(values for key, values in history.items() if key.endswith("-mean")))

    level, rate, rounds = _tuned(curve, table, plan)
    model = lgb.train({**base, "num_leaves": 2**level, "learning_rate": rate}, data, rounds)
    leaves = sum(tree["num_leaves"] for tree in model.dump_model()["tree_info"])
    return Answer(_as_shares(model.predict(table.coded.iloc[test]), table), leaves)


def _xgboost(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    xgb = import_module("xgboost")
    data = xgb.DMatrix(table.coded.iloc[train], table.y[train], enable_categorical=True)
    base = {"nthread": 1, "seed": plan.seed, "grow_policy": "lossguide", "max_depth": 0,
            **_objective(table, "reg:squarederror", "binary:logistic", "multi:softprob")}  # fmt: skip

    def curve(level: int, rate: float, rounds: int) -> np.ndarray:
        history = xgb.cv({**base, "max_leaves": 2**level, "eta": rate}, data, rounds, nfold=plan.folds,
                         stratified=table.classes > 0, seed=plan.seed, as_pandas=False)  # fmt: skip
        return np.array(next(values for key, values in history.items() if key.startswith("test") and "mean" in key))

    level, rate, rounds = _tuned(curve, table, plan)
    model = xgb.train({**base, "max_leaves": 2**level, "eta": rate}, data, rounds)
    leaves = sum(text.count("leaf=") for text in model.get_dump())
    return Answer(
        _as_shares(model.predict(xgb.DMatrix(table.coded.iloc[test], enable_categorical=True)), table), leaves
    )


def _catboost(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    cat = import_module("catboost")
    texts = [name for name, dtype in table.coded.dtypes.items() if str(dtype) == "category"]
    x = table.coded.astype(dict.fromkeys(texts, object)).fillna(dict.fromkeys(texts, "missing"))
    data = cat.Pool(x.iloc[train], table.y[train], cat_features=texts)
    base = {"verbose": False, "thread_count": 1, "random_seed": plan.seed, "allow_writing_files": False,
            "loss_function": "MultiClass" if table.classes > 2 else "Logloss" if table.classes else "RMSE"}  # fmt: skip
    if table.classes > 2:
        base["classes_count"] = table.classes

    def curve(level: int, rate: float, rounds: int) -> np.ndarray:
        settings = {**base, "depth": level, "learning_rate": rate, "iterations": rounds}
        history = cat.cv(data, settings, fold_count=plan.folds, stratified=table.classes > 0, seed=plan.seed,
                         as_pandas=False, logging_level="Silent")  # fmt: skip
        return np.array(next(values for key, values in history.items() if key.startswith("test") and "mean" in key))

    level, rate, rounds = _tuned(curve, table, plan)
    model = cat.CatBoost({**base, "depth": level, "learning_rate": rate, "iterations": rounds}).fit(data)
    kind = "Probability" if table.classes else "RawFormulaVal"
    found = model.predict(cat.Pool(x.iloc[test], cat_features=texts), prediction_type=kind)
    return Answer(found, len(model.get_leaf_values()))


def _treegrad(table: BenchTable, train: np.ndarray, test: np.ndarray, plan: Plan) -> Answer:
    """LightGBM of 8 leaves a tree as a soft forest, trained on; its agreement is that with LightGBM before."""
    module = import_module("treegrad")
    x = _plain(table, train)
    leaves = 8
    kind = module.TGDClassifier if table.classes else module.TGDRegressor
    model = kind(num_leaves=leaves, n_estimators=max(plan.size // (leaves * table.outputs), 1),
                 autograd_config={"num_iters": 50} if plan.quick else {})  # fmt: skip
    model.fit(x[train], table.y[train])
    before = model.predict(x[test])
    model.partial_fit(x[train], table.y[train])
    size = sum(tree["num_leaves"] for tree in model.base_model_.booster_.dump_model()["tree_info"])
    if not table.classes:
        return Answer(np.asarray(model.predict(x[test]), float).ravel(), size)
    shares = np.asarray(model.predict_proba(x[test]), float)
    alike = float((model.base_model_.classes_[shares.argmax(1)] == before).mean())
    return Answer(_widened(shares, model.base_model_.classes_, table), size, alike)


METHODS = (
    Method("CART, tuned", "tree", None, _cart),
    Method("CART + kicks + polish", "tree", None, _kicks),
    Method("neural-trees", "tree", "neural_trees", _neural_tree),
    Method("Softwood tree", "tree", None, _tree),
    Method("LightGBM", "forest", "lightgbm", _lightgbm),
    Method("XGBoost", "forest", "xgboost", _xgboost),
    Method("CatBoost", "forest", "catboost", _catboost),
    Method("treegrad", "forest", "treegrad", _treegrad),
    Method("Softwood forest", "forest", None, _forest),
)
OURS = {"tree": "Softwood tree", "forest": "Softwood forest"}


# ------------------------------------------------------------------ shared
def _ours(learner: Any, table: BenchTable, train: np.ndarray, test: np.ndarray) -> Answer:
    learner.fit(table.raw.iloc[train], table.y[train])
    held, size = table.raw.iloc[test], learner.artifact_.n_leaf_values
    if not table.classes:
        return Answer(learner.predict(held), size)
    shares = learner.predict_proba(held)
    soft = learner.soft_
    alike = None if soft is None else float((soft(held).argmax(1) == shares.argmax(1)).mean())
    return Answer(_widened(shares, learner.classes_, table), size, alike)


def _tuned(
    curve: Callable[[int, float, int], np.ndarray], table: BenchTable, plan: Plan
) -> tuple[int, float, int]:  # fmt: skip
    """Return levels, learning rate and rounds of the least loss over the folds."""
    best = (np.inf, 1, plan.rates[0], 1)
    for level in plan.levels:
        rounds = plan.size // (2**level * table.outputs)
        for rate in plan.rates if rounds else ():
            losses = curve(level, rate, rounds)
            at = int(np.argmin(losses))
            best = min(best, (float(losses[at]), level, rate, at + 1))
    return best[1:]


def _folds(table: BenchTable, plan: Plan) -> Any:
    from sklearn.model_selection import KFold, StratifiedKFold

    return (StratifiedKFold if table.classes else KFold)(plan.folds, shuffle=True, random_state=plan.seed)


def _objective(table: BenchTable, number: str, two: str, several: str) -> dict[str, Any]:
    if table.classes > 2:
        return {"objective": several, "num_class": table.classes}
    return {"objective": two if table.classes else number}


def _as_shares(found: np.ndarray, table: BenchTable) -> np.ndarray:
    return np.column_stack([1 - found, found]) if table.classes == 2 else found


def _widened(shares: np.ndarray, classes: Any, table: BenchTable) -> np.ndarray:
    """Return a column for each class of the table, 0 for those that training had not seen."""
    wide = np.zeros((len(shares), table.classes))
    wide[:, np.asarray(classes, int)] = shares
    return wide


def _plain(table: BenchTable, train: np.ndarray) -> np.ndarray:
    """Return numbers only: one-hot, missing values at the median, scaled by the training rows."""
    import pandas as pd

    x: pd.DataFrame = pd.get_dummies(table.coded, dtype=float)
    seen = x.iloc[train]
    filled = x.fillna(seen.median()).fillna(0.0)
    return ((filled - seen.mean()) / seen.std().replace(0.0, 1.0).fillna(1.0)).fillna(0.0).to_numpy(np.float32)
