"""Corpora: readers of their official layouts, and what finds faults in them."""
