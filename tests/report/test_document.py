"""One document, all its spellings."""

import base64
import gzip
import re

import pytest

from lilawbench.report.document import Document, Picture, Section, Table, records_csv

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (300).to_bytes(4, "big") + (200).to_bytes(4, "big")


@pytest.fixture
def document(tmp_path):
    (tmp_path / "curve.png").write_bytes(PNG)
    (tmp_path / "curve.svg").write_bytes(b"<svg/>")
    first = Table("50 % & <b>", ["name", "x"], [["a|b", "1.00 ± 0.10"]], 1, [{"name": "a|b", "x": 1.0, "p": None}])
    second = Table("two", ["", "y", "z"], [["c_d", "2", "-"], ["e", "3", "4"]], 2, [{"name": 'c"d', "y": 2}])
    curve = Picture(tmp_path / "curve.png", "Curve", "x < y")
    return Document("T & U", [Section("one", [first]), Section("two", [second])], ["a < b"], [curve])


def test_markdown_is_padded(document):
    assert document.render("md") == (
        "# T & U\n\n## one\n\n50 % & <b>\n\n"
        "| name |           x |\n| ---- | ----------: |\n| a\\|b | 1.00 ± 0.10 |\n\n"
        "## two\n\ntwo\n\n"
        "|     |  y |  z |\n| --- | -: | -: |\n| c_d |  2 |  - |\n| e   |  3 |  4 |\n\n- a < b\n"
    )


def test_latex_is_escaped(document):
    tex = document.render("tex")
    assert r"\caption{50 \% \& $<$b$>$}" in tex and r"c\_d & 2 & - \\" in tex and r"1.00 $\pm$ 0.10 \\" in tex
    assert tex.count(r"\begin{tabular}{lr}") == tex.count(r"\begin{tabular}{lrr}") == 1
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 2


def test_html_is_escaped_and_stands_by_itself(document):
    """It names no address but its own data:, and Chromium may load nothing else either."""
    html = document.render("html")
    assert "<h1>T &amp; U</h1>" in html and "<caption>50 % &amp; &lt;b&gt;</caption>" in html
    assert '<td class="word">c_d</td><td>2</td>' in html and "<li>a &lt; b</li>" in html
    assert "<p>x &lt; y</p>" in html
    assert not re.search(r"https?:|//[a-z]|<link|@import|url\(", re.sub(r"data:image/png[^\"]*", "", html))
    assert "default-src 'none'" in html
    assert 'id="notes"' not in Document("empty", []).render("html")


def test_a_picture_is_in_the_page_whole_and_can_be_saved_as_svg(document):
    html = document.render("html")
    [(packed, width, height)] = re.findall(
        r'<img src="data:image/png;base64,(.*?)".* width="(\d+)" height="(\d+)"', html
    )
    assert base64.b64decode(packed) == PNG and (width, height) == ("300", "200")
    [vector] = re.findall(r'data-name="curve.svg" data-packed="(.*?)"', html)
    assert gzip.decompress(base64.b64decode(vector)) == b"<svg/>"


def test_csv_joins_tables_of_other_columns(document):
    assert records_csv(document.sections) == 'name,x,p,y\na|b,1.0,,\n"c""d",,,2\n'
