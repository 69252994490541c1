"""A study's results, read back for tables and pictures.

Example:
    What the random forest reached on unseen speakers::

        study = read_study(read_config("studies/reference.toml"), Path("docs/results/reference"))
        for result in study.results("classical"):
            if result.protocol["key"] == "speaker-5" and result.choice["name"] == "random-forest":
                print(result.choice["size"], result.scores.uar)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox.errors import ParameterError, ProtocolError
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import TEST, Array, Cell, Predictions, Views, read_json
from emovox.evaluation.leaks import Leak, leaks
from emovox.evaluation.metrics import Scores, score
from emovox.evaluation.splitting import Fold
from emovox.evaluation.study import is_done
from emovox.studies.config import Part, StudyConfig
from emovox.studies.copies import Groups, read_copies
from emovox.studies.rows import read_rows
from emovox.studies.running import STUDY_FILE, PartPlan, plan_study


@dataclass(frozen=True, eq=False)
class Result:
    """One model under one protocol and seed, all finished folds together.

    Attributes:
        title: names the model with its parameters, as `ModelChoice.title`.
        choice: ``name``, ``parameters``, ``features``, ``size``, ``held_out``.
        protocol: ``key``, ``name``, ``sentence``, ``description``, ``separates_speakers``, ``folds``.
        seed: of division and model.
        cells: the finished folds, by fold.
        planned: number of folds in all.
        failures: name of the fold and error, of each that failed.
        rows: the table that row numbers point into.
        labels: in the order of the probabilities.
        find_shared: gives `shared`.
    """

    title: str
    choice: Mapping[str, Any]
    protocol: Mapping[str, Any]
    seed: int
    cells: Sequence[Cell]
    views: Sequence[Views]
    planned: int
    failures: Sequence[tuple[str, Mapping[str, str]]]
    rows: pd.DataFrame
    labels: tuple[str, ...]
    find_shared: Callable[[], str]

    @property
    def shared(self) -> str:
        """What training and test share under the protocol, in words; empty where no fold tests a clip."""
        return self.find_shared()

    @property
    def complete(self) -> bool:
        """Whether every fold is finished."""
        return len(self.cells) == self.planned

    @property
    def reference(self) -> Mapping[str, float]:
        """The study's published figures for this model with its own parameters; empty where it has none."""
        reference: Mapping[str, float] = self.cells[0].details["reference"] if self.cells else {}
        return reference

    @property
    def histories(self) -> list[Mapping[str, Any]]:
        """What networks tell of their epochs, a mapping a fold: lists ``loss``, ``val_accuracy``, ...; ``epochs``."""
        return [cell.details["history"] for cell in self.cells if "history" in cell.details]

    @cached_property
    def scores(self) -> Scores | None:
        """Figures over the test clips of all finished folds, put together; None if no fold is finished."""
        return self.measure(TEST) if self.cells else None

    def measure(self, view: str, *, rows: Array | None = None) -> Scores:
        """Measure a view (``test``, ``validation`` or a condition), of all folds together.

        Args:
            view: which predictions.
            rows: only these row numbers; None for all.
        """
        taken = self.predictions(view)
        chosen = np.full(len(taken.rows), True) if rows is None else np.isin(taken.rows, rows)
        return score(
            self.truth(taken)[chosen],
            taken.probabilities[chosen],
            self.labels,
            predicted=np.asarray(self.labels)[taken.predicted[chosen]],
            speakers=self.column("speaker", taken)[chosen],
        )

    def predictions(self, view: str = TEST) -> Predictions:
        """Put a view's predictions of all folds together; under ``test`` every row is predicted at most once."""
        parts = [views[view] for views in self.views if view in views]
        return Predictions(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS))

    def folds(self, view: str = TEST) -> list[Predictions]:
        """Give a view's predictions fold by fold."""
        return [views[view] for views in self.views if view in views]

    def has(self, view: str) -> bool:
        """Whether some fold has this view."""
        return any(view in views for views in self.views)

    def truth(self, predictions: Predictions) -> Array:
        """Give the emotions of predicted rows."""
        return self.column("emotion", predictions)

    def column(self, name: str, predictions: Predictions) -> Array:
        """Give a column of the manifest for predicted rows, such as ``speaker`` or ``language``."""
        return self.rows[name].to_numpy(dtype=str)[predictions.rows]

    def seconds(self, name: str) -> float | None:
        """Give the mean seconds of a fold: ``train_cpu``, ``test_cpu``, ``train``, ...; None if not taken."""
        found = [cell.seconds[name] for cell in self.cells if name in cell.seconds]
        return float(np.mean(found)) if found else None

    def training_score(self, name: str) -> float | None:
        """Give the mean over folds of ``uar``, ``accuracy`` or ``weighted_f1`` on the rows that were fitted."""
        found = [cell.details["training_scores"][name] for cell in self.cells if "training_scores" in cell.details]
        return float(np.mean(found)) if found else None


_ARRAYS = ("rows", "predicted", "probabilities")


@dataclass(frozen=True, eq=False)
class StudyResults:
    """All results of a study.

    Attributes:
        config: the study.
        about: what ``study.json`` says: corpora, those that are absent, clips, speakers, provenance.
        table: the present rows, as a manifest without folders.
        numbers: the row number of each row of `table` in the predictions.
        plans: the cells of each part.
        store: the cells.
        known: all rows by number.
        copies: rows of `table` that hold the same recording; None if nobody has looked for them.
    """

    config: StudyConfig
    about: Mapping[str, Any]
    table: pd.DataFrame
    numbers: Array
    plans: Sequence[PartPlan]
    store: CellStore
    known: pd.DataFrame
    copies: Groups | None = None

    def part(self, name: str) -> Part:
        """Give a part's description."""
        return self.config.parts[name]

    @cached_property
    def _by_part(self) -> dict[str, list[Result]]:
        return {plan.name: self._results(plan) for plan in self.plans}

    def results(self, part: str) -> list[Result]:
        """Give a part's results, in the order of the study; those of which no fold is finished are left out."""
        return [result for result in self._by_part[part] if result.cells]

    def planned(self, part: str) -> list[Result]:
        """Give all results of a part, in the order of the study, also those of which no fold is finished."""
        return list(self._by_part[part])

    def unfinished(self, part: str) -> list[Result]:
        """Give the results of a part of which some fold is missing."""
        return [result for result in self._by_part[part] if not result.complete]

    def folds(self, protocol: str) -> list[Fold]:
        """Give the folds of a protocol's key, as rows of `table`, such as for `emovox.evaluation.leaks`."""
        for plan in self.plans:
            for one in plan.cells:
                if one.task.key.protocol == protocol:
                    return list(one.protocol.folds(self.table))
        raise ProtocolError(f"the study has no protocol {protocol!r}")

    @cached_property
    def _leaks(self) -> dict[str, Leak | None]:
        return {}

    def leak(self, protocol: str) -> Leak | None:
        """Count what training and test share under a protocol's key; None where no fold tests a clip.

        Copies are counted as 0 where nobody has looked for them (`copies` is None).
        """
        if protocol not in self._leaks:
            try:
                self._leaks[protocol] = leaks(self.table, self.folds(protocol), self.copies or ())
            except ParameterError:
                self._leaks[protocol] = None
        return self._leaks[protocol]

    def shared(self, protocol: str) -> str:
        """Say in words what training and test share under a protocol's key; empty where no fold tests a clip."""
        leak = self.leak(protocol)
        if leak is None:
            return ""
        return leak.sentence if self.copies is not None else leak.sentence.replace("0 copies", "copies not looked for")

    def _results(self, plan: PartPlan) -> list[Result]:
        groups: dict[tuple[str, str, int], list[Any]] = {}
        for one in plan.cells:
            key = one.task.key
            groups.setdefault((key.model, key.protocol, key.seed), []).append(one)
        found = []
        for (title, protocol, seed), planned in groups.items():
            cells, views, failures = [], [], []
            for one in planned:
                cell = self.store.cell(one.task.key)
                if cell is not None and is_done(self.store, one.cell):
                    cells.append(cell)
                    views.append(self.store.views(cell.key) or {})
                elif cell is not None and cell.error is not None:
                    failures.append((str(cell.protocol["fold"]), cell.error))
            first = planned[0].cell
            found.append(
                Result(
                    title=title,
                    choice=first.details["choice"],
                    protocol={"key": protocol, **first.protocol},
                    seed=seed,
                    cells=cells,
                    views=views,
                    planned=len(planned),
                    failures=failures,
                    rows=self.known,
                    labels=self.config.emotions,
                    find_shared=partial(self.shared, protocol),
                )
            )
        return found


def read_study(config: StudyConfig, folder: Path) -> StudyResults:
    """Read a study's results; the recordings are not needed.

    Raises:
        ProtocolError: if the folder holds none.
    """
    rows, about = read_rows(folder), read_json(folder / STUDY_FILE)
    if rows is None or about is None:
        raise ProtocolError("holds no study", path=folder, remedy="Begin it: emovox study run STUDY.toml -c CORPORA")
    return StudyResults(
        config=config,
        about=about,
        table=rows.table,
        numbers=rows.numbers,
        plans=plan_study(config, rows.table),
        store=CellStore(folder),
        known=rows.known,
        copies=read_copies(folder, rows.numbers),
    )
