"""What the pictures of a study's report are drawn with: a module for each kind of picture, apart from any section.

All shares come in [0, 1] and are drawn in per cent. Colours are the page's (`emovox.evaluation.figures`).
"""
