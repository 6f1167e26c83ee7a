"""Critical-difference diagrams: methods at their average ranks; bars join those that do not differ significantly."""

from pathlib import Path
from typing import TYPE_CHECKING

from lilawbench.report.figures.drawing import save
from lilawbench.report.figures.looks import COLOURS
from lilawbench.report.measured import SELECTIONS
from lilawbench.report.ranks import ALPHA, Ranking

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_ranks(found: dict[str, Ranking], path: str | Path) -> "Figure | None":
    """One diagram for each selection rule (Demsar 2006, Figure 1), drawn by scikit-posthocs.

    Args:
        found: from `rankings`, by rule. path: the file to write; its suffix is the format (png, pdf, svg).
    Returns:
        None, and no file, without a ranking.
    """
    if not found:
        return None
    from matplotlib.figure import Figure
    from scikit_posthocs import critical_difference_diagram

    heights = [0.8 + 0.25 * ((len(ranking.methods) + 1) // 2 + len(ranking.groups)) for ranking in found.values()]
    figure = Figure(figsize=(8.4, sum(heights) + 0.3), layout="constrained")
    axes = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (rule, ranking) in zip(axes, found.items()):
        critical_difference_diagram(
            dict(zip(ranking.methods, ranking.ranks)),
            ranking.pairs,
            alpha=ALPHA,
            ax=panel,
            label_fmt_left="{label}  {rank:.2f} ",
            label_fmt_right=" {rank:.2f}  {label}",
            elbow_props={"color": "black", "linewidth": 1, "clip_on": False},
            marker_props={"s": 14, "clip_on": False},
            crossbar_props={"color": COLOURS[1], "linewidth": 4, "clip_on": False},
            text_h_margin=0.05,
        )
        panel.set_xlim(1, len(ranking.methods))
        panel.set_xticks(range(1, len(ranking.methods) + 1))
        tests = f"Friedman p {ranking.shown_p}, critical difference {ranking.critical_difference:.2f}"
        chosen = f"{rule}: {SELECTIONS[rule]}" if rule in SELECTIONS else rule
        panel.set_title(f"{chosen}\n{tests}", loc="left", fontsize=11, pad=14)
    units = dict.fromkeys(f"{ranking.blocks} {ranking.unit}" for ranking in found.values())
    figure.supxlabel(f"average rank (1 is best) over {'; '.join(units)}", fontsize=9)
    save(figure, path)
    return figure
