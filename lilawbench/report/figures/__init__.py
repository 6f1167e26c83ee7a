"""The figures of a report, a file each, drawn for the runs whose metrics have the values.

`plot(runs, path)` writes the picture, or returns None if no run has them. `ranks` is drawn from the tables' cells.
"""

from lilawbench.report.figures.accuracy import plot_accuracy
from lilawbench.report.figures.corrector import plot_corrector
from lilawbench.report.figures.pruning import plot_pruning
from lilawbench.report.figures.traces import plot_traces

FIGURES = {
    "accuracy.png": plot_accuracy,
    "parameters.png": plot_traces,
    "pruning.png": plot_pruning,
    "corrector.png": plot_corrector,
}
