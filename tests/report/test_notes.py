"""What tables say beside their figures."""

import pandas as pd

from lilawbench.report.notes import clean_val


def test_runs_whose_validation_rows_have_clean_labels_are_named():
    runs = pd.DataFrame({"config.method.name": ["l2rw", "mw_net", "l2rw", "ce"]})
    assert clean_val(runs) == [] == clean_val(runs.assign(**{"config.split.val_labels": "observed"}))
    (said,) = clean_val(runs.assign(**{"config.split.val_labels": ["clean", "clean", "clean", "observed"]}))
    assert said.startswith("3 run(s) of l2rw, mw_net: their validation rows have clean labels (split.val_labels=clean)")
