"""What ``ForestClassifier`` and ``ForestRegressor`` share: parameters, the search, and what is made of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from softwood.core import Budget, InputError, check_choice, check_number
from softwood.trees._base import TableLearner, silent
from softwood.trees._brought import Brought
from softwood.trees._convert import forest_to_ensemble
from softwood.trees._crossfit import FOLDS
from softwood.trees._forest import BoostSetting
from softwood.trees._forest_engine import FoundForest, search_forest
from softwood.trees._forest_plan import check_forest_plan
from softwood.trees._forest_trials import ForestOptions
from softwood.trees._rows import Rows
from softwood.trees._soft_forest_model import SoftForestModel
from softwood.trees._stability import ForestRefit, split_weights
from softwood.trees._threads import threads
from softwood.trees._training import Training


class ForestLearner(TableLearner):
    """What the learners of forests share; see ``ForestClassifier``."""

    def __init__(
        self,
        budget: int = 480,
        *,
        max_depth: int = 6,
        min_samples_leaf: float = 1,
        metric: str | None = None,
        holdout: float | None = None,
        effort: float = 1.0,
        time_limit: float | None = None,
        n_jobs: int | None = -1,
        random_state: Any = 0,
        checkpoint: str | Path | None = None,
        init: Any = None,
        tune: bool | None = None,
        plan: Mapping[str, int] | None = None,
        progress: Callable[[str, float], None] | None = None,
        improved: Callable[[Any], None] | None = None,
    ) -> None:
        self.budget = budget
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.metric = metric
        self.holdout = holdout
        self.effort = effort
        self.time_limit = time_limit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.init = init
        self.tune = tune
        self.plan = plan
        self.progress = progress
        self.improved = improved

    def _options(self, metrics: tuple[str, ...], usual: str) -> ForestOptions:
        return ForestOptions(
            budget=Budget(self.budget, "leaf values"),
            max_depth=check_number("max_depth", self.max_depth, low=1, high=30, integer=True),
            min_samples_leaf=check_number("min_samples_leaf", self.min_samples_leaf, low=0),
            metric=usual if self.metric is None else check_choice("metric", self.metric, metrics),
            effort=check_number("effort", self.effort, low=0.01, high=100),
            time_limit=None if self.time_limit is None else check_number("time_limit", self.time_limit, low=0.1),
            jobs=threads(self.n_jobs),
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            tune=self.tune,
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            plan=check_forest_plan(self.plan),
        )

    def _search(
        self, data: Training, rows: Rows, options: ForestOptions, classes: np.ndarray | None,
        ship: Callable[[FoundForest | Brought, np.ndarray], None],
    ) -> None:  # fmt: skip
        """Set certificate rows aside, search on the others, and ``ship`` what is found, in between too where a long
        search goes on; or ship a brought model as it is.
        """
        rows = self._constrained(rows)
        if self.tune and rows.direction.any():
            raise InputError(
                "tuning does not keep columns monotone", got="tune=True with monotonic_cst", allowed="one of them",
                fix="leave tune out",
            )  # fmt: skip
        aside = self._aside(rows, options.seed)
        if options.time_limit is not None and self._will_crossfit(rows, aside):
            options = replace(options, time_limit=options.time_limit / (FOLDS + 1))
        brought = None if self.init is None else self._bring(self.init, data, rows, classes)
        if brought is not None and self.tune is False:
            ship(brought, aside)
            return
        brought = brought and brought.take(~aside)

        def on_the_way(found: FoundForest) -> None:
            ship(found, aside)
            self.improved(self)  # type: ignore[misc]

        found = search_forest(
            self._learned(rows, aside), options, self.progress or silent, brought,
            None if self.improved is None else on_the_way,
        )  # fmt: skip
        shipped = {field.name: found.record["shipped"].get(field.name) for field in fields(BoostSetting)}
        limit, boosted = options.budget.limit, None not in shipped.values()
        self._can_refit(
            ForestRefit(found.group.rows, BoostSetting(**shipped), limit, options.seed, options.jobs)
            if boosted
            else None
        )
        ship(found, aside)

    def _ship(
        self, found: FoundForest | Brought, data: Training, rows: Rows, aside: np.ndarray, **answers: Any
    ) -> None:
        """Set ``artifact_`` and ``soft_``, and certify.

        Args:
            found: what ships; a forest with leaves in the units of the answer.
            data: all rows.
            rows: all rows, with the loss.
            aside: which of them were set aside.
            answers: of ``forest_to_ensemble``.
        """
        self.soft_ = None
        if isinstance(found, Brought):
            self._ship_untouched(found, data, rows, aside)
            return
        self.artifact_ = forest_to_ensemble(found.forest, found.group, **answers)
        if found.tuned is not None:
            feature = np.concatenate([tree.feature for tree in found.forest.trees])
            threshold = np.concatenate(found.tuned.threshold)
            self.soft_ = SoftForestModel.of(
                self.artifact_, found.group.codec, feature, threshold, found.tuned.temperature
            )
        self._certify(found.record, split_weights(self.artifact_), data, aside, rows.loss)
