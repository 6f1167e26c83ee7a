"""Texts as numbers: by hand, from tables, folders, zips and official layouts, and back through what a run keeps."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from lilawbench.datasets import imdb
from lilawbench.datasets.imdb import IMDb
from lilawbench.datasets.new_rows.base import Labelling
from lilawbench.datasets.new_rows.readers import described, reader_from
from lilawbench.datasets.text import Text
from lilawbench.datasets.text_zips import MovieReviews, ProsCons, SentencePolarity
from lilawbench.datasets.toxic_comments import KINDS, ToxicComments
from lilawbench.datasets.words import Words, encoded, row_name, words
from lilawbench.loading.download import missing
from lilawbench.support.errors import DataError

ROWS = [("good film", "yes"), ("a good, good film", "yes"), ("bad film", "no"), ("bad\nfilm - none", "no")]


def kept(source):
    return reader_from(json.loads(json.dumps(described(source.reader))))


@pytest.fixture
def table(tmp_path):
    """Writes my.csv of 12 rows, with commas and line breaks in values, and test.csv with a word of its own."""
    lines = [f'"{text}",{label},r{row}' for row, (text, label) in enumerate(ROWS * 3)]
    (tmp_path / "my.csv").write_text("\n".join(["text,label,id", *lines, ""]), encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,label,id\nnew good film,yes,t0\n,no,t1\n", encoding="utf-8")
    return tmp_path


def test_words_by_hand():
    """b is there four times, a three times, d once; <br /> is a blank, capitals count as small letters."""
    found = Words.fitted(["B b a, b", "a b<br />A d"], most=2, min_count=2)
    assert found.known == ["b", "a"] and len(found) == 4
    numbers, sizes = encoded(found, ["b it's A", "", "a"], length=2)
    assert numbers.tolist() == [[2, 1], [0, 0], [3, 0]] and sizes.tolist() == [3, 0, 1]
    assert encoded(found, ["b", "a b a"], length=None)[0].tolist() == [[2, 0, 0], [3, 2, 3]]
    assert words("It's  e\u0301té, isn\u2019t it?") == ["it's", "été", ",", "isn\u2019t", "it", "?"]
    assert row_name("line 2", "One two\nthree four five six seven eight nine") == (
        "line 2: One two three four five six seven eight"
    )
    with pytest.raises(ValueError, match="none of the 2 words is there 3 times; lower dataset.min_count"):
        Words.fitted(["a b"], None, 3)


def test_a_table(table, caplog):
    """Words of the training rows alone have numbers: film 12, good 9, bad 6; the test file's `new` is unknown."""
    caplog.set_level("INFO")
    source = Text(str(table / "my.csv"), test_path=str(table / "test.csv"), min_count=6, length=3).load(None)
    assert source.class_names == ("no", "yes") and source.vocabulary == 2 + 3
    assert source.train_input.dtype == torch.int64 and source.input_shape == (3,)
    assert source.train_input[:4].tolist() == [[3, 2, 0], [1, 3, 1], [4, 2, 0], [4, 2, 1]]
    assert source.test_input.tolist() == [[1, 3, 2], [0, 0, 0]] and source.test_clean.tolist() == [1, 0]
    assert source.train_ids[0] == "line 2: good film" and source.test_ids[1] == "line 3"
    assert source.columns(source.train_lines[3:5])["text"] == ["bad film - none", "good film"]
    assert "6 of 14 texts are longer than 3 words and cut to it" in caplog.text
    assert "1 rows to test have no word, such as line 3" in caplog.text
    found = kept(source).read(table / "test.csv", Labelling("binary", source.class_names))
    assert torch.equal(found.input, source.test_input) and found.ids.tolist() == source.test_ids.tolist()
    assert found.given.tolist() == ["yes", "no"]
    assert torch.equal(kept(source).take(["new good film", ""]).input, source.test_input)
    named = Text(str(table / "my.csv"), id="id", min_count=1).load(None)
    assert named.drawn_test == len(named.test_ids) == 2 and named.test_ids[0].startswith("r")


def test_a_folder(tmp_path, caplog):
    caplog.set_level("INFO")
    for part, names in (("train", ("b2", "b10")), ("test", ("b10",))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            for row in range(2):
                (tmp_path / part / name / f"{row}.txt").write_text(f"{name} text", encoding="utf-8")
    (tmp_path / "train" / "b2" / "notes.md").write_text("no text")
    source = Text(str(tmp_path), min_count=1, length=None).load(None)
    assert source.class_names == ("b2", "b10") and source.train_clean.tolist() == [0, 0, 1, 1]
    assert source.train_ids[0] == "train/b2/0.txt: b2 text" and source.test_clean.tolist() == [1, 1]
    assert "left out: 1 files (.md)" in caplog.text
    found = kept(source).read(tmp_path / "test", Labelling("binary", source.class_names))
    assert torch.equal(found.input, source.test_input) and found.given.tolist() == ["b10", "b10"]
    (tmp_path / "test" / "b3").mkdir()
    with pytest.raises(DataError, match="has the class 'b3', which .*train has not"):
        Text(str(tmp_path)).load(None)


@pytest.mark.parametrize(
    "content, options, said",
    [
        (b"words,label\na,x\nb,y\n", {}, r"my.csv has no column 'text' \(dataset.text\); its columns are"),
        (b"text,label\na,x\nb,x\n", {}, "has one label only, 'x'"),
        (b"text,label\n\xe9,x\nb,y\n", {}, "byte 0xe9 is not UTF-8. Name the file's encoding"),
        (b"text,label\na,x\nb,y\nc,\n", {}, "line 4: no label in column 'label'"),
        (b"text,label\n" + b"a,x\nb,y\n" * 5, {"min_count": 9}, "none of the 2 words is there 9 times"),
        (b"text,label\n" + b",x\n,y\n" * 5, {}, "none of the 0 words is there 2 times"),
        (b"text,label\n" + b"a,x\nb,y\n" * 5, {"tokenizer_path": "none"}, "tokenizer_path=none does not exist"),
    ],
)  # fmt: skip
def test_tables_that_are_no_texts(tmp_path, content, options, said):
    (tmp_path / "my.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        Text(str(tmp_path / "my.csv"), **options).load(None)


@pytest.mark.parametrize("content, said", [(b"\xff", "0.txt, line 1: byte 0xff is not utf-8"), (None, "has 1 folder")])
def test_folders_that_are_no_texts(tmp_path, content, said):
    for name in ("a", "b") if content else ("a",):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.txt").write_bytes(content or b"a")
    with pytest.raises(DataError, match=said):
        Text(str(tmp_path)).load(None)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"length": 0}, "length is 0; it must be a whole number >= 1"),
        ({"vocabulary": 0}, "vocabulary is 0"),
        ({"label": "text"}, "they must be different ones"),
        ({"encoding": "utf-9"}, "encoding is 'utf-9'; Python has no such"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(ValueError, match=said):
        Text("my.csv", **options)


ZIPS = {
    SentencePolarity: {f"sentence_polarity/rt-polarity.{end}": f"{end} it\n" * 5 + "." for end in ("neg", "pos")},
    ProsCons: {f"pros_cons/Integrated{n}.txt": f"  <{n}>{n} &amp; it</{n}>\n" * 5 for n in ("Pros", "Cons")},
    MovieReviews: {f"movie_reviews/{end}/cv{n}.txt": f"{end} it\nfilm" for end in ("neg", "pos") for n in range(5)},
}


@pytest.mark.parametrize("dataset", ZIPS)
def test_zips_as_they_lie(tmp_path, monkeypatch, md5, dataset):
    """Five texts a class, the fifth of each to test; a line without a word is left out."""
    (tmp_path / "text").mkdir()
    with zipfile.ZipFile(tmp_path / "text" / dataset.file, "w") as archive:
        for name, text in ZIPS[dataset].items():
            archive.writestr(name, text)
    monkeypatch.setattr(dataset, "md5", md5(tmp_path / "text" / dataset.file))
    source = dataset(min_count=1, length=None).load(tmp_path)
    assert source.train_clean.tolist() == [0] * 4 + [1] * 4 and source.test_clean.tolist() == [0, 1]
    own = source.train_input[source.train_input[:, 0].argsort()]  # each class has a word of its own
    assert len(own.unique(dim=0)) == 2 and source.clean_known and len(set(source.train_ids)) == 8
    assert dataset(min_count=1, positives=5).load(tmp_path).train_clean.sum() == 4


def test_imdb(tmp_path, monkeypatch, md5):
    """From its folder and from the archive alike; reviews without a label are left out."""
    names = [f"{part}/{name}/{n}_7.txt" for part in ("train", "test") for name in ("neg", "pos") for n in (2, 10)]
    root = tmp_path / "aclImdb"
    for name in [*names, "train/unsup/0_0.txt"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name.split('/')[1]}<br /><br />film", encoding="utf-8")
    assert missing(lambda: IMDb().load(tmp_path)) is None
    source = IMDb(min_count=1).load(tmp_path)
    assert source.train_clean.tolist() == [0, 0, 1, 1] and source.vocabulary == 2 + 3
    assert source.train_ids[:2].tolist() == ["train/neg/2_7.txt: neg film", "train/neg/10_7.txt: neg film"]
    halves = IMDb("random", min_count=1).load(tmp_path)
    assert halves.test_clean.tolist() == [0, 0, 1, 1]
    assert set(halves.train_ids) | set(halves.test_ids) == set(source.train_ids) | set(source.test_ids)
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / imdb.FILE, "w:gz") as archive:
        archive.add(root, "aclImdb")
    monkeypatch.setattr(imdb, "MD5", md5(tmp_path / "packed" / imdb.FILE))
    packed = IMDb(min_count=1).load(tmp_path / "packed")
    assert torch.equal(packed.train_input, source.train_input) and packed.test_ids.tolist() == source.test_ids.tolist()


def test_toxic_comments(tmp_path):
    """Any of six labels; ten of thirty toxic comments are kept; quotes and line breaks in a comment."""
    assert "is had under licence from" in missing(lambda: ToxicComments().load(tmp_path))
    text = io.StringIO(",".join(["id", "comment_text", *KINDS]) + "\n")
    text.seek(0, io.SEEK_END)
    for row in range(90):
        labels = [int(row < 30 and row % 6 == kind) for kind in range(6)]
        text.write(f'x{row},"he said ""no"",\nand left",{",".join(map(str, labels))}\n')
    (tmp_path / "toxic_comments").mkdir()
    (tmp_path / "toxic_comments" / "train.csv").write_text(text.getvalue(), encoding="utf-8")
    source = ToxicComments(positives=10).load(tmp_path)
    assert (len(source.train_clean), source.train_clean.sum(), source.test_clean.sum()) == (56, 8, 2)
    assert source.train_ids[0].startswith("x") and source.train_input[0].count_nonzero() == 8
    assert len(ToxicComments(positives=None).load(tmp_path).train_clean) == 72
    (tmp_path / "toxic_comments" / "train.csv").write_text(text.getvalue().replace("0,0,0,0,0,1", "0,0,0,0,0,2"))
    with pytest.raises(DataError, match="column 'identity_hate' holds '2'; its labels are 0 and 1"):
        ToxicComments().load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dataset, train, test",
    [
        (SentencePolarity, [4265, 4265], [1066, 1066]),
        (ProsCons, [18315, 18340], [4579, 4585]),
        (MovieReviews, [800, 800], [200, 200]),
    ],
)
def test_the_real_files(real, dataset, train, test):
    """How many there are of each class."""
    source = real(dataset(length=32))
    assert (np.bincount(source.train_clean).tolist(), np.bincount(source.test_clean).tolist()) == (train, test)
    assert len(set(source.labelled_ids)) == sum(train) and source.train_input.max() < source.vocabulary


def test_the_tokenizer_of_a_pretrained_network(table):
    """vocab.txt of seven pieces: [CLS] 2 and [SEP] 3 around a text, which the last one closes however much is cut."""
    pytest.importorskip("tokenizers")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "fi", "##lm"]
    (table / "vocab.txt").write_text("\n".join(pieces) + "\n")
    options = {"test_path": str(table / "test.csv"), "tokenizer_path": "vocab.txt"}
    source = Text(str(table / "my.csv"), length=5, **options).load(table)
    assert source.vocabulary == 7 and source.train_input[0].tolist() == [2, 4, 5, 6, 3]
    assert source.train_input[1].tolist() == [2, 1, 4, 1, 3] and source.test_input[1].tolist() == [2, 3, 0, 0, 0]
    assert torch.equal(kept(source).read(table / "test.csv").input, source.test_input)
    (table / "vocab.txt").write_text("good\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(DataError, match="its number 0 is 'good' and not the padding, as BERT's is"):
        Text(str(table / "my.csv"), **options).load(table)
