"""The typed blocks of the root config, each option with its default and what it does."""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from lilawbench.augment.options import AugmentOptions
from lilawbench.support.plain import Options


@dataclass
class Train:
    epochs: int = 30
    batch_size: int = 128
    finetune: str = "full"  # full | linear_probe: only the last two layers train | head: only the last
    cache_features: bool = True  # of the last two: the frozen part runs once per sweep, into a file of output_dir
    optimizer: str = "adam"  # adam | adamw | sgd
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9  # sgd
    nesterov: bool = False  # sgd
    schedule: str = "constant"  # constant | linear | cosine | multistep
    decay_from_epoch: int = 0  # linear: lr is held for so many epochs, then falls
    milestones_epochs: list[int] = field(default_factory=list)  # multistep: lr x 0.1 after each
    clip_grad_norm: float | None = None
    balanced_samples: int | None = None  # rows per epoch, redrawn, balanced over observed classes; null: all rows
    early_stop_epochs: int | None = None  # stop after so many epochs without a lower val_loss
    augment: AugmentOptions = field(default_factory=AugmentOptions)  # random views of training images
    strong_policy: str = "cifar10"  # AutoAugment's, in the strong view that some methods use
    # images by the mean and std of: data | weights, with their size and interpolation too; null: weights, where the
    # model starts from some
    normalise: str | None = None
    resize_px: int | None = None  # side that images are scaled to, batch by batch; null: the weights', else not scaled
    precision: str = "fp32"  # fp32 | bf16; not chosen by device, or results would depend on the machine
    channels_last: bool | None = None  # layout of image networks; null: on CUDA only (it changes the last bits)
    compile: bool = False  # torch.compile of the forward; may cost more than it gains: bench.py options
    cuda_graphs: bool = False  # captures and replays whole steps: faster where launching kernels is the limit
    side_stream: bool = True  # on CUDA, LiLAW's meta step runs in parallel with the next forward; same results
    accumulate_steps: int = 1  # parts that a batch is split into: less memory, the same mean gradient
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    threads: int | None = None  # null: all cores for a single process, one per process if several share the machine
    deterministic: bool = True  # bitwise repeatable on one machine
    log_every_steps: int = 10


@dataclass
class Split:
    val_fraction: float | None = 0.15  # null if the data set has its own validation rows
    val_labels: str = "observed"  # observed | clean
    val_augment: bool = False  # augment validation images with flips, rotation and jitter
    train_samples: int | None = None  # a stratified subset of the training rows


@dataclass
class Attack:
    # test accuracy is measured under FGSM of each, at the epochs that last and best_val may choose
    eps: list[float] = field(default_factory=list)
    sign: bool = True  # false: x + eps grad, as printed in RRM for the test set
    clip: list[float] | None = None  # [low, high] that the perturbed input is clipped to; null: not clipped
    space: str = "input"  # units of eps and clip: the model's input | unit: pixels in [0, 1], clipped to it


@dataclass
class Detect:
    """What probe=suspects does. Own data have it unless probe=none; any option that is set here asks for it too."""

    scores: list[str] | None = None  # by name (lilawbench/probes/detectors/); null: all that cost no pass of their own
    score: str = "loss"  # the one that ranks suspects.csv; why: outputs/README.md
    epochs: list[int] | None = None  # after which scores are compared with clean labels; null: after the last alone
    folds: int = 0  # networks trained on all but one part each, for scores of rows that were not trained on; 0: none
    orientation: str = "mislabelled"  # what is positive | paper: LiLAW's average precision as well, where clean is


@dataclass
class Keep:
    """What a finished run keeps besides its record; no number depends on it."""

    weights: bool = True  # best.safetensors, last.safetensors and preprocess.json, for `python -m lilawbench.predict`
    predictions: bool = True  # predictions.npz, predictions.csv, per_class.csv and confusion.csv


@dataclass
class Paths:
    data_dir: str | None = None
    output_dir: str = "outputs"


@dataclass
class Sweep:
    retry_failed: bool = False  # repeat runs that failed with an error
    redo: bool = False  # repeat finished runs; their records are kept until then
    stop_on_failure: bool = False  # the first run that fails ends the sweep
    job: int | None = None  # number of a launcher's job within the sweep; set by the launcher


@dataclass
class Table:
    """A table that an experiment fills: its runs are rows x columns x what hydra.sweeper.params adds (seeds)."""

    paper: str | None = None  # published results: lilawbench/experiment/paper/PAPER.csv
    number: str | None = None  # of the table there
    metrics: list[str] = field(default_factory=lambda: ["test_accuracy"])  # last.test_accuracy fixes the rule
    select: str = "best_val"  # the rule of the others: best_val | last | last5 | oracle_best
    rows: dict[str, list[str]] = field(default_factory=dict)  # name: overrides that go together
    columns: dict[str, list[str]] = field(default_factory=dict)
    only: list[str] | None = None  # names of rows and columns to keep; null: all
    baselines: dict[str, str] = field(default_factory=dict)  # row: the row it is tested against
    averages: dict[str, list[str]] = field(default_factory=dict)  # column: the columns it is the mean of
    pick: list[str] = field(default_factory=list)  # hyper-parameters whose best value on validation rows is shown
    shown: list[str] | None = None  # columns and averages, in this order; null: all columns, then the averages
    waiting: dict[str, str] = field(default_factory=dict)  # row, column, metric or "table": what it is waiting for
    # metric: its key in result.json, where no rule chooses the epoch: epoch{epoch}.suspects_auroc_{score}
    result_keys: dict[str, str] = field(default_factory=dict)
    score: str | None = None  # what a row or column puts into these keys; rows that differ in it alone share their runs
    epoch: int | None = None
    notes: list[str] = field(default_factory=list)  # sentences under the table, such as on misprints of the paper


@dataclass
class Config:
    dataset: Options = MISSING
    noise: Options = MISSING
    model: Options = MISSING
    loss: Options = MISSING
    method: Options = MISSING
    logger: Options = MISSING
    probe: Options = field(default_factory=dict)  # further probes, by name
    train: Train = field(default_factory=Train)
    split: Split = field(default_factory=Split)
    attack: Attack = field(default_factory=Attack)
    detect: Detect = field(default_factory=Detect)
    keep: Keep = field(default_factory=Keep)
    paths: Paths = field(default_factory=Paths)
    sweep: Sweep = field(default_factory=Sweep)
    launcher: Options = MISSING
    table: Table = field(default_factory=Table)
    seed: int = 0
    experiment_name: str = "default"


ConfigStore.instance().store(name="schema", node=Config)
