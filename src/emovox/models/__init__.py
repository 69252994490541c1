"""The catalogue of models, and how they become bundles."""
