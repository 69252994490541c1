"""Prediction with a bundle: needs the base installation only."""

from __future__ import annotations

from emovox.inference.bundle import Bundle, BundleMetadata, default_bundle_path

__all__ = ["Bundle", "BundleMetadata", "default_bundle_path"]
