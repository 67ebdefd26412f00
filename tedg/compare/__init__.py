"""`python -m tedg.compare`: what a study says of its arms, from the records of its runs and from its plan.

One step a file: `find`, `arms`, `questions`, `scores`, `paired`, `unlike`, `liveness`, `judging`, `text`.
"""
