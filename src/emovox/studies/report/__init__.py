"""The report of a study: one HTML page, and the same tables as Markdown."""
