"""Whole studies: described in a file, carried out cell by cell, shown as a report."""
