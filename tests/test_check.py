"""What cannot run is refused before anything is done, with all problems at once."""

import sys

import pytest
from hydra.errors import HydraException

from lilawbench.check import check
from lilawbench.support.errors import ConfigError

REFUSED = [
    ("dataset=emotions loss=ce", "loss=ce is for multiclass and binary data; dataset=emotions is multilabel"),
    ("dataset=energy loss=focal", "dataset=energy is regression (fitting: squared)"),
    ("loss=bce", "loss=bce is for multilabel data; dataset=digits is multiclass (fitting: active_passive"),
    ("dataset=adult loss=squared", "dataset=adult is binary"),
    ("dataset=emotions noise=symmetric", "dataset=emotions is multilabel (fitting: file, label_flip, none)"),
    ("noise=target_gaussian", "noise=target_gaussian is for regression data; dataset=digits is multiclass"),
    ("dataset=energy method=dynamic_loss", "method=dynamic_loss is for multiclass and binary data; dataset=energy is"),
    ("dataset=emotions model.num_classes=8", "multilabel data like dataset=emotions need 6"),
    ("dataset=emotions model.num_classes=2", "model.num_classes is 2; dataset=emotions has 6"),
    ("dataset=embeddings dataset.train=[a] dataset.sources={a:a.npz}", "test is None; it must list sources"),
    ("dataset=embeddings dataset.train=[a] dataset.test=[t] dataset.num_classes=2 dataset.sources=a:b", "{KEY: text}"),
    ("dataset=gait dataset.train=[real,test]", "test is in test and in train or meta"),
    ("dataset=gait dataset.meta=[other]", "meta is ['other']; it must list sources"),
    ("dataset=gait dataset.num_classes=null", "num_classes is None; multiclass data need"),
    ("dataset=pain dataset.target_range=0", "target_range is 0"),
    ("dataset=pain dataset.task=ranking", "task is 'ranking'"),
    ("dataset=emotions noise.rate=1", "rate is 1; it must lie in [0, 1)"),
    ("dataset=energy noise.scale=0", "scale is 0"),
    ("dataset=energy method=lilaw method.regression_delta=box", "it must be gaussian or sigmoid"),
    ("+typo=1", "typo is not an option"),
    ("+train.typo=1", "train.typo is not an option (valid: epochs, batch_size"),
    ("+method.typo=1", "method.typo is not an option of ce"),
    ("+noise.typo=1", "noise.typo is not an option of symmetric (valid: rate, exact)"),
    ("+model.typo=1", "model.typo is not an option of mlp (valid: num_classes, hidden, dropout, bias)"),
    ("noise.rate=1", "rate is 1; it must lie in [0, 1)"),
    ("noise.rate=-0.1", "it must lie in [0, 1)"),
    ("noise.rate=much", "noise.rate is much (text); it must be a finite number"),
    ("noise=transition", "noise.matrix has no value"),
    ("noise=transition noise.matrix=[[.9,.1],[.3,.7]]", "the matrix is 2 x 2; the data set has 10 classes"),
    ("noise=transition dataset=adult noise.matrix=[[.9,.2],[.3,.7]]", "row 0 sums to 1.1"),
    ("noise=asymmetric noise.pairs={1:12}", "pair 1: 12"),
    ("noise=instance noise.std=0", "noise=instance: std is 0; it must be > 0"),
    ("noise=instance +noise.inputs=x", "noise.inputs is not an option of instance (valid: rate, std)"),
    ("noise=one_sided noise.rate_of=all", "rate_of is 'all'; it must be positives or negatives"),
    ("noise=human noise.labels=worse", "labels is 'worse'; it must be one of aggre, random1"),
    ("noise=file", "noise.path has no value"),
    ("noise=file noise.path=nowhere.npz", "noise=file: path nowhere.npz does not exist"),
    ("noise=kernel noise.kernel=nowhere.csv", "noise=kernel: cannot read nowhere.csv"),
    ("model.num_classes=5", "model.num_classes is 5; dataset=digits has 10 classes"),
    ("method=lilaw split.val_fraction=0", "split.val_fraction must be > 0"),
    ("method=lilaw method.terms=[]", "terms is []"),
    ("method=lilaw method.lr=-1", "lr is -1"),
    ("loss=focal loss.gamma=-1", "gamma is -1"),
    ("loss=gce loss.q=0", "q is 0; it must lie in (0, 1]"),
    ("loss=mae loss.scale=total", "scale is 'total'"),
    ("loss=elr loss.beta=1", "beta is 1"),
    ("loss=forward_correction loss.matrix=[[.9,.1],[.2,.8]]", "the matrix is 2 x 2; the data set has 10 classes"),
    ("loss=backward_correction dataset=adult loss.matrix=[[.5,.5],[.5,.5]]", "the matrix is singular"),
    ("train.precision=fp16", "fp16 is refused"),
    ("train.precision=int8", "it must be fp32 or bf16"),
    ("train.device=cuda:77", "train.device=cuda:77 is not there"),
    ("train.device=gpu", "it must be auto, cpu, cuda or cuda:N"),
    ("train.optimizer=lion", "adam, adamw or sgd"),
    ("train.finetune=last", "train.finetune is last; it must be full, linear_probe or head"),
    ("train.decay_from_epoch=-1", ">= 0"),
    ("train.decay_from_epoch=2", "0 with train.schedule=constant"),
    ("train.schedule=step", "constant, linear, cosine or multistep"),
    ("train.lr=0", "train.lr is 0.0"),
    ("train.epochs=0", "train.epochs is 0"),
    ("train.batch_size=1", "train.batch_size is 1"),
    ("train.threads=0", "train.threads is 0"),
    ("train.accumulate_steps=0", "train.accumulate_steps is 0; it must be from 1 to 32"),
    ("train.accumulate_steps=9 train.batch_size=17", "it must be from 1 to 8, so that parts of train.batch_size=17"),
    ("method=dynamic_loss train.accumulate_steps=2", "method=dynamic_loss takes whole batches"),
    ("train.augment.jitter=2", "jitter in [0, 1)"),
    ("train.augment.policy=cifar100", "policy is cifar100; it must be null or one of cifar10, imagenet, svhn"),
    ("train.normalise=imagenet", "train.normalise is imagenet; it must be null, data or weights"),
    ("train.normalise=weights", "model=mlp starts from no such weights"),
    ("dataset=cifar10 model=resnet18 train.normalise=weights", "model=resnet18 starts from no such weights"),
    ("dataset=mnist dataset.pixels=unit model=resnet18 model.pretrained=true", "dataset.pixels=unit does not go with"),
    ("train.resize_px=0", "train.resize_px is 0; it must be null or >= 1"),
    ("dataset.classes=[0,12]", "12 is not a class"),
    ("dataset.classes=[3]", "at least two different classes"),
    ("dataset.imbalance=0.5", "imbalance is 0.5; it must be >= 1"),
    ("dataset.per_class=0", "per_class is 0"),
    ("dataset=table dataset.label=y", "dataset.path has no value"),
    ("model=text_cnn", "model=text_cnn reads texts; dataset=digits has none"),
    ("dataset=imdb model=mlp", "model=mlp takes numbers and dataset=imdb has texts (fitting: distilbert_lora"),
    ("dataset=imdb attack.eps=[1]", "attack.eps is [1.0]; a text has no inputs"),
    ("dataset=imdb train.augment.flip=true", "train.augment.flip is True, for images; dataset=imdb has texts"),
    ("dataset=imdb method=mixup", "method=mixup attacks or mixes inputs; dataset=imdb has texts"),
    ("dataset=imdb method=at", "method=at attacks or mixes inputs"),
    ("dataset=imdb method=sop_plus", "method=sop_plus learns from strong views, of images"),
    ("dataset=imdb method=wann", "it can compare the features of a frozen network, train.finetune=linear_probe"),
    ("dataset=imdb noise=instance", "noise=instance follows the numbers of the inputs; dataset=imdb has texts"),
    ("dataset=imdb model=distilbert_lora train.finetune=linear_probe", "train.finetune must be full"),
    ("dataset=imdb dataset.split=third", "split is 'third'; it must be official or random"),
    ("dataset=toxic_comments dataset.positives=1", "positives is 1; it must be null or a whole number >= 5"),
    ("dataset=table dataset.path=a.csv dataset.label=y dataset.test_fraction=1", "test_fraction is 1"),
    ("dataset=table dataset.path=a.csv dataset.label=y dataset.delimiter=ab", "delimiter is 'ab'"),
    ("dataset=table dataset.path=a.csv dataset.label=y dataset.max_categories=x", "it must be a whole number"),
    ("dataset=folder dataset.path=a dataset.resize=32", "resize is 32; it must be null or a whole number"),
    ("dataset=clothing1m dataset.train=all", "it must be noisy_train or clean_train"),
    ("dataset=clothing1m train.balanced_samples=1", "train.balanced_samples is 1; it must be null or >= 2"),
    ("split.val_fraction=null", "dataset=digits has no validation rows of its own"),
    ("dataset=mnist dataset.pixels=raw", "it must be standard or unit"),
    ("noise=kernel dataset=mnist dataset.classes=[0,1,2]", "the kernel is 10 x 10; the data set has 3 classes"),
    ("method=rrm method.gamma=0", "gamma is 0; it must be > 0"),
    ("method=rrm method.gamma=abc", "method.gamma is abc (text); it must be a finite number or null"),
    ("method=rrm method.mu=0", "mu is 0; it must lie in (0, 1]"),
    ("method=rrm method.mu=1.5", "mu is 1.5; it must lie in (0, 1]"),
    ("method=rrm method.contamination=1", "contamination is 1; it must lie in [0, 1)"),
    ("method=a_rrm method.fgsm.eps=-1", "eps is -1"),
    ("attack.space=pixels", "attack: space is 'pixels'; it must be input or unit"),
    ("method=at +method.fgsm.typo=1", "fgsm.typo is not an option (valid: eps, clip, space, mode)"),
    ("attack.eps=[0,-1]", "attack: eps is -1"),
    ("attack.clip=[1,0]", "it must be null or [lo, hi] with lo < hi"),
    ("split.val_fraction=1", "split.val_fraction is 1.0"),
    ("split.val_labels=true", "observed or clean"),
    ("split.train_samples=1", "split.train_samples is 1"),
    ("dataset=ecg5000 dataset.split=half", "official"),
    ("dataset=cifar10_lt method=lilaw", "split.val_fraction must be > 0"),
    ("dataset=medmnist dataset.flag=chestmnist noise=label_flip", "loss=ce is for multiclass and binary data"),
    ("dataset=chestmnist dataset.classes=[0,1]", "classes, imbalance and per_class are for one class a sample"),
    ("dataset=medmnist dataset.flag=nodulemnist3d", "flag is 'nodulemnist3d'; it must be one of pathmnist"),
    ("dataset=medmnist dataset.size=32", "size is 32; it must be one of 28, 64, 128, 224"),
    ("dataset=digits split.val_fraction=null", "dataset=digits has no validation rows of its own"),
    ("logger=wandb logger.mode=sometimes", "mode is 'sometimes'"),
    ("train.early_stop_epochs=3 split.val_fraction=0", "train.early_stop_epochs watches val_loss"),
    ("seed=-1", "seed is -1"),
    ("noise.exact=no", "noise.exact is no (text); it must be true or false: noise.exact=false"),
    ("method=lilaw method.scales=1", "method.scales is 1; it must be true or false"),
    ("method=dynamic_loss method.num_bins=true", "method.num_bins is true; it must be a whole number"),
    ("method=at method.fgsm.eps=1e300", "method.fgsm.eps is 1e+300, which float32 cannot hold"),
    ("method=lilaw method.lr=nan", "method.lr is nan; it must be a finite number or a list of finite numbers"),
    ("model.hidden=8", "model.hidden is 8; it must be a list of whole numbers: model.hidden=[8]"),
    ("~noise.rate", "noise.rate has no value, and symmetric needs one"),
    ("+noise.rat=1", "noise.rat is not an option of symmetric; did you mean rate?"),
    ("train.clip_grad_norm=inf", "train.clip_grad_norm is inf; it must be a finite number or null"),
    ("train.augment.rotate_degrees=nan", "train.augment.rotate_degrees is nan"),
    ("train.threads=100000", "train.threads is 100000; it must be null or from 1 to 1024"),
    ("experiment_name=../../x", "experiment_name is '../../x'; it names folders"),
    ("dataset.name=../x", "dataset.name is '../x'; it names folders"),
    ("loss._target_=subprocess.Popen", "loss._target_: subprocess.Popen: a config runs only what is of lilawbench"),
    ("model=resnet18 +model.options.x._target_=os.system", "model._target_: os.system: a config runs only"),
]  # fmt: skip


@pytest.mark.every(3)
@pytest.mark.parametrize("overrides, message", REFUSED, ids=[overrides for overrides, _ in REFUSED])
def test_what_cannot_run_is_refused(composed, overrides, message):
    with pytest.raises(ConfigError) as refused:
        check(composed(*overrides.split()))
    assert message in str(refused.value)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(
    "compiler, headers, message",
    [
        ("no-such-compiler", None, "train.compile=true needs a C++ compiler, and there is no no-such-compiler"),
        (sys.executable, "nowhere", "train.compile=true needs Python's headers, and there is no nowhere/Python.h"),
    ],
)
def test_what_cannot_compile_is_refused(composed, monkeypatch, compiler, headers, message):
    monkeypatch.setenv("CXX", compiler)
    if headers:
        monkeypatch.setattr("sysconfig.get_path", lambda name: headers)
    check(composed("train.device=cpu"))
    with pytest.raises(ConfigError) as refused:
        check(composed("train.device=cpu", "train.compile=true"))
    assert message in str(refused.value) and "or use train.compile=false" in str(refused.value)
    assert len(refused.value.problems) == 1


def test_all_problems_come_at_once(composed):
    with pytest.raises(ConfigError) as refused:
        check(composed("noise.rate=2", "train.lr=-1", "+model.typo=1", "seed=-3", "train.precision=fp16"))
    assert len(refused.value.problems) == 5
    assert str(refused.value).startswith("the configuration has 5 problems:\n  - ")


@pytest.mark.parametrize(
    "override", ["dataset=foo", "method=foo", "noise=foo", "train.epochs=abc", "method.typo=1", "train.compile=always"]
)
def test_hydra_refuses_the_rest_at_compose(composed, override):
    with pytest.raises(HydraException):
        composed(override)
