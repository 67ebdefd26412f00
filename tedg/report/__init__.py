"""`python -m tedg.report`: a study as a page to read, to print and to cite from. It judges nothing itself.

What is shown lies in `sections/`, one file a subject; figures are made in `draw/`; `page.py` says what a page
is made of, and `html.py`, `latex.py` and `markdown.py` give it a form.
"""
