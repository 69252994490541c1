"""The report of a study: one HTML page, and the same tables as Markdown.

`front` says first what came out. `sections` builds a section for each kind of part, of the `elements` that a report
consists of: from the results that `choosing` takes, in the terms of `words`, `settings` and `missing`, with what
`pictures` draws; `protocols` sets models side by side where several sections do. `page` and `markdown` write them down,
with the same `numbering`.
"""
