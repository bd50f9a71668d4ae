"""Claims of the design, put to the test on tiny budgets.

`python -m edgecap.benchmarks.reference.ablations` runs them.

experiment   what an ablation is: arms that differ in one thing
trial        one arm, one seed: train, evaluate, a row of figures
sweep        all arms and seeds, in several processes, going on where an interrupted sweep stopped
store        the rows on disk
differences  arms against each other, seed by seed
report       table and plot

The rest is an ablation a file; `NAMES` lists them. A null result is a result.
"""

NAMES = ("positions", "towers", "prefix", "locations", "mentions")
