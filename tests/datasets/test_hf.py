"""Files of Hugging Face datasets, written here as its version 5.2 writes them: parts, names, what is refused."""

import io
import json

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from lilawbench.datasets import arrow_files
from lilawbench.datasets.hf import HuggingFace
from lilawbench.loading.image_files import ImageFiles, loaded
from lilawbench.support.errors import DataError

CLASSES = ["zebra", "ant"]
OF_IMAGES = {"img": {"_type": "Image"}, "fine": {"names": CLASSES, "_type": "ClassLabel"}}


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (grey, grey, grey)).save(file, "png")
    return file.getvalue()


def table(columns: dict, features: dict | None = OF_IMAGES) -> pyarrow.Table:
    told = {} if features is None else {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.table(columns).replace_schema_metadata(told)


def images(first: int, count: int, **changed) -> pyarrow.Table:
    """Images of one grey each, classes in turn."""
    pixels = [{"bytes": png(first + i), "path": None} for i in range(count)]
    return table({"img": pixels, "fine": [i % 2 for i in range(count)], "who": [f"p{first + i}" for i in range(count)]}
                 | changed)  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    """saved(part or None, tables...) -> the folder that save_to_disk makes, a file for each table."""

    def save(split: str | None, *tables: pyarrow.Table) -> str:
        folder = tmp_path / "saved" / (split or "")
        folder.mkdir(parents=True)
        names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
        for name, part in zip(names, tables):
            with pyarrow.ipc.new_stream(folder / name, part.schema) as file:
                file.write_table(part, max_chunksize=3)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
        if split:
            splits = sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
            (folder.parent / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
        return str(tmp_path / "saved")

    return save


def greys(inputs) -> list[int]:
    return loaded(inputs)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("gb", [1, 0])
def test_splits_of_save_to_disk_in_memory_and_mapped(saved, check_types, caplog, gb):
    caplog.set_level("INFO")
    saved("test", images(100, 2))
    saved("unsupervised", images(200, 2))
    saved("validation", images(50, 2))
    root = saved("train", images(10, 4), images(14, 4))
    source = HuggingFace(root, size=4, resident_gb=gb).load(None)
    assert isinstance(source.train_input, torch.Tensor if gb else ImageFiles) and source.class_names == ("zebra", "ant")
    assert greys(source.train_input) == list(range(10, 18)) and source.train_clean.tolist() == [0, 1] * 4
    assert greys(source.val_input) == [50, 51] and greys(source.test_input) == [100, 101]
    assert source.train_ids[:2].tolist() == ["train:0", "train:1"] and source.val_ids.tolist() == ["val:0", "val:1"]
    assert greys(source.train_input[np.array([7, 3])]) == [17, 13] and not source.clean_known
    assert "left out: the splits unsupervised" in caplog.text
    if gb:
        check_types(source, 2)


def test_parquet_by_name_and_a_column_of_names(tmp_path):
    (tmp_path / "data").mkdir()
    parquet.write_table(images(10, 10).slice(2), tmp_path / "data" / "train-00000-of-00002.parquet", row_group_size=3)
    parquet.write_table(images(30, 10), tmp_path / "data" / "train-00001-of-00002.parquet")
    source = HuggingFace(str(tmp_path), id="who", size=4, test_fraction=0.25).load(None)
    assert len(source.train_clean) == 13 and len(source.test_clean) == 5
    assert [f"p{grey}" for grey in greys(source.train_input)] == source.train_ids.tolist()
    assert sorted(greys(source.train_input) + greys(source.test_input)) == [*range(12, 20), *range(30, 40)]
    alone = HuggingFace(str(tmp_path / "data" / "train-00001-of-00002.parquet"), size=4, test_fraction=0.5).load(None)
    assert len(alone.train_clean) == 5


@pytest.mark.parametrize("kind", [pyarrow.list_(pyarrow.float64()), pyarrow.list_(pyarrow.float32(), 3)])
def test_lists_of_numbers_are_features(saved, kind):
    values = np.random.default_rng(0).normal(size=(20, 3)).tolist()
    columns = {"emb": pyarrow.array(values, kind), "label": ["cat", "dog"] * 10}
    source = HuggingFace(saved(None, table(columns, None)), input="emb").load(None)
    assert source.train_input.shape == (16, 3) and source.train_input.dtype == torch.float32
    assert torch.allclose(source.train_input.mean(dim=0), torch.zeros(3), atol=1e-6)
    assert source.class_names == ("cat", "dog") and source.test_input.shape == (4, 3)


@pytest.mark.parametrize(
    "options, changed, message",
    [
        ({"input": "image"}, {}, "dataset.input=image: .* has no such column; did you mean img"),
        ({"input": "who"}, {}, "who of train is string; it must be images .* or lists of numbers"),
        ({}, {"fine": [0, 1, -1, 1]}, r"fine of train is -1 in row 2 \(1 such rows\): no label"),
        ({}, {"fine": [0, 1, 2, 1]}, "train is 2 in row 2 .*none of the 2 classes"),
        ({}, {"fine": [0, 1, None, 1]}, "fine of train is empty in row 2"),
        (
            {},
            {"img": [{"bytes": b"", "path": None}, {"bytes": None, "path": "a.png"}] * 2},
            r"holds no image in row 1 \(2 such rows\)",
        ),
        ({"input": "who"}, {"who": [[1.0], [1.0, 2.0], [1.0, 2.0], None]}, "has 1 numbers in row 0, others have 2"),
        ({"input": "who"}, {"who": [[1.0], [1.0], [float("inf")], [1.0]]}, "is not finite in row 2"),
        ({"input": "who"}, {"who": [["a"]] * 4}, "has lists of string; features are lists of numbers"),
        ({}, {"img": [], "fine": [], "who": []}, "train has no rows"),
    ],
)
def test_columns_that_are_refused(saved, options, changed, message):
    columns = images(10, 4)
    kept = {name: changed.get(name, columns[name]) for name in columns.column_names}
    with pytest.raises(DataError, match=message):
        HuggingFace(saved(None, table(kept)), size=4, test_fraction=0.5, **options).load(None)


def test_files_that_are_refused(saved, tmp_path, monkeypatch):
    def refused(path, message, **options):
        with pytest.raises(DataError, match=message):
            HuggingFace(str(path), size=4, **options).load(None)

    root = saved("train", images(10, 8))
    other = OF_IMAGES | {"fine": {"names": ["ant", "zebra"], "_type": "ClassLabel"}}
    saved("test", images(30, 2).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": other}})}))
    refused(root, r"has the classes \['ant', 'zebra'\], in .*train.* they must be alike")
    state, data = tmp_path / "saved/train/state.json", tmp_path / "saved/train/data-00000-of-00001.arrow"
    refused(state, "is no Arrow or Parquet file")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    refused(root, "data-00000-of-00001.arrow is damaged")
    data.unlink()
    refused(root, "data-00000-of-00001.arrow is missing; .*state.json names it")
    state.write_text(json.dumps({"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}))
    refused(root, r"is a selection from a larger file: save flatten_indices\(\)")
    (tmp_path / "saved/dataset_dict.json").write_text(json.dumps({"splits": ["unsupervised"]}))
    refused(root, "has the splits unsupervised, and none is train")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no .parquet or .arrow file")
    for place in ("en", "de"):
        (tmp_path / "both" / place).mkdir(parents=True)
        parquet.write_table(images(10, 8), tmp_path / "both" / place / "train.parquet")
    refused(tmp_path / "both", "has parts in several folders: .*de, .*en; name one of them")
    monkeypatch.setattr(arrow_files, "MOST_MEMORY", 0)
    refused(tmp_path / "both" / "en", "of Parquet do not fit into .* save them as Arrow files")
