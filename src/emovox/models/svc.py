"""A support vector classifier that predicts as scikit-learn's does and also gives probabilities."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.svm import SVC

from emovox.errors import ParameterError


class VotingSVC(SVC):  # type: ignore[misc]  # scikit-learn ships no types
    """`sklearn.svm.SVC` with `predict_proba`, at no extra cost in training.

    scikit-learn's own ``probability=True`` (deprecated in 1.9) trains five more machines, and its probabilities often
    disagree with its predictions. Here `fit` and `predict` are those of `SVC`, bit by bit, and the probabilities are
    the softmax of the one-vs-rest scores of `decision_function`: the votes that a class wins against each other class,
    plus its confidence in (-1/3, 1/3). Where classes win equally many votes, `predict` takes the first of them; that
    one is then given the largest score, so that the most probable class always is the predicted one. For two classes
    the probability is the logistic function of the decision value.

    The probabilities rank the classes; they are not calibrated. Votes hardly grow with certainty, so calibrate on
    held-out speakers where the number itself matters.

    Example:
        >>> machine = VotingSVC().fit([[0.0], [0.2], [1.0], [1.2], [2.0], [2.2]], ["a", "a", "b", "b", "c", "c"])
        >>> machine.predict_proba([[0.1]]).round(2).tolist()
        [[0.74, 0.19, 0.07]]
    """

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Give the probability of each class, in the order of `classes_`.

        Args:
            X: shape (n, features).

        Returns:
            Shape (n, classes); rows sum to 1.

        Raises:
            ParameterError: if ``decision_function_shape`` is not ``"ovr"``.
        """
        if self.decision_function_shape != "ovr":
            raise ParameterError(
                f"probabilities need decision_function_shape='ovr', got {self.decision_function_shape!r}"
            )
        scores = self.decision_function(X)
        if scores.ndim == 1:
            positive = expit(scores)
            return np.column_stack([1 - positive, positive])
        winners = np.searchsorted(self.classes_, self.predict(X))
        scores[np.arange(len(scores)), winners] = scores.max(axis=1)
        return np.asarray(softmax(scores, axis=1))

    def predict_log_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Give the logarithm of `predict_proba`."""
        return np.asarray(np.log(self.predict_proba(X)))

    def one_against_one(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give the fitted machine as one linear combination of kernel values a pair of classes.

        Pairs stand in the order (0, 1), (0, 2), ..., (1, 2), ...; where ``kernel @ weights + intercepts`` is positive
        the pair's first class wins (for two classes altogether: class 1). The layout of `dual_coef_` is libsvm's:
        the coefficients of class i's support vectors against class j stand in row j - 1 for j > i and in row j for
        j < i (Chang and Lin, "LIBSVM", 2011, section 7).

        Returns:
            Weights of shape (support vectors, pairs) and intercepts of shape (pairs,).
        """
        bounds = np.concatenate([[0], np.cumsum(self.n_support_)])
        own = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        if len(self.classes_) == 2:
            return np.asarray(self.dual_coef_.T), np.asarray(self.intercept_)
        pairs = list(itertools.combinations(range(len(self.classes_)), 2))
        weights = np.zeros((len(self.support_vectors_), len(pairs)))
        for column, (first, second) in enumerate(pairs):
            weights[own[first], column] = self.dual_coef_[second - 1, own[first]]
            weights[own[second], column] = self.dual_coef_[first, own[second]]
        return weights, np.asarray(self.intercept_)
