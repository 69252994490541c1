"""Feature sets, and the store that keeps what was computed."""

from emovox.features.sets import FEATURE_SETS, FeatureSet, feature_set
from emovox.features.store import Extraction, FeatureStore

__all__ = ["FEATURE_SETS", "Extraction", "FeatureSet", "FeatureStore", "feature_set"]
