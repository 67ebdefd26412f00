"""`python -m tedg.compare`: what a study says of its arms, from the records of its runs and from its plan.

One step a file, in this order: `find`, `arms`, `questions`, `scores`, `unlike`, `liveness`, `judging`, `text`.
"""
