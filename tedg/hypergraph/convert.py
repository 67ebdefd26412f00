"""`python -m tedg.hypergraph.convert`: the earlier project's graph as a hypergraph file of ours."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tedg.hypergraph.earlier.convert", run_name="__main__", alter_sys=True)
