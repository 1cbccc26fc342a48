"""Tables in files of text: encodings, separators, preambles, packing; what is damaged or ambiguous is refused."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import AssumptionWarning, ObservationError
from xappa.observations import read_observations

T, P = "2m_temperature", "mean_sea_level_pressure"
NAMES = "time,lat,lon,station,t2m\n"
ROWS = "2018-11-02T12:00,50.5,8.25,01001,281.5\n2018-11-02T13:00,50.5,8.25,01001,282.25\n"
TABLE = NAMES + ROWS


@pytest.fixture
def read(tmp_path):
    def read(contents: str | bytes, name: str = "reports.csv", encoding: str = "utf-8", **options):
        path = tmp_path / name
        path.write_bytes(contents.encode(encoding) if isinstance(contents, str) else contents)
        return read_observations(path, **{"units": {T: "K"}} | options)

    return read


def assert_is_table(obs):
    np.testing.assert_array_equal(obs[T], [281.5, 282.25])
    np.testing.assert_array_equal(obs["latitude"], 50.5)
    np.testing.assert_array_equal(obs["longitude"], 8.25)
    np.testing.assert_array_equal(obs["time"], np.array(["2018-11-02T12", "2018-11-02T13"], "datetime64[ns]"))
    assert obs["station"].values.tolist() == ["01001", "01001"]
    assert (obs[f"{T}_flag"] == 0).all()
    assert not {"unreadable_values", "unknown_variables"} & set(obs.attrs)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_unicode(read, encoding):
    assert_is_table(read(TABLE, encoding=encoding))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_are_assumed_and_said(read, encoding):
    text = TABLE.replace("01001", "Köln") if encoding == "latin-1" else TABLE.replace("01001", "Köln €")
    with pytest.warns(AssumptionWarning, match=r"not in UTF-8.*Windows-1252"):
        obs = read(text, encoding=encoding)
    assert obs["station"].values[0] in text
    with pytest.raises(ObservationError, match="strict=True"):
        read(text, encoding=encoding, strict=True)


def test_degrees_in_latin_1(read):
    with pytest.warns(AssumptionWarning):
        obs = read("time,lat,lon,t2m (°C)\n2018-11-02,50,8,7.5\n", encoding="latin-1", units={})
    np.testing.assert_allclose(obs[T], 280.65)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tsv", "a.dat", "a", "a.asc"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   ", ", ", " ; "])
def test_separators_whatever_the_name(read, name, separator):
    assert_is_table(read(TABLE.replace(",", separator), name))


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
def test_decimal_commas(read, separator):
    assert_is_table(read(TABLE.replace(",", separator).replace(".", ",")))


def test_quoted_decimal_commas(read):
    obs = read('time,lat,lon,t2m\n2018-11-02,"50,5","8,25","281,5"\n')
    np.testing.assert_array_equal([obs["latitude"][0], obs["longitude"][0], obs[T][0]], [50.5, 8.25, 281.5])


@pytest.mark.parametrize("value", ["1,013", "1.013,25", "1,013.25"])
def test_commas_of_decimals_or_thousands_are_refused(read, value):
    with pytest.raises(ObservationError, match=r"can mark decimals or thousands.*decimal="):
        read(f"time;lat;lon;msl\n2018-11-02;50;8;{value}\n", units={P: "hPa"})


def test_three_decimals_are_no_thousands_where_places_have_them(read):
    obs = read("time;lat;lon;msl\n2018-11-02;50,123;8,456;1,013\n", units={P: "bar"})
    np.testing.assert_allclose(obs[P], 101300.0)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(read, end):
    assert_is_table(read(TABLE.replace("\n", end)))


@pytest.mark.parametrize(
    "text",
    [
        "# made by a logger\n# time, lat\n" + TABLE,
        "# made by a logger\n#" + TABLE,
        "# made by a logger\n#  " + TABLE,
        "! made by a logger\n" + TABLE,
        "No errors\nNo warnings\n4 ms\ndata source=metars\n2 results\n" + TABLE,
        "Station:,Köln\nOperator:,someone, somewhere\n\n\n" + TABLE,
        "station 01001 of the network\n\n" + TABLE,
        "# station lat lon elev name\n# 01001 50.5 8.25 110 somewhere\n# "
        + TABLE.replace("01001,", "01001, ").replace(".25,", ".25, "),
        "# station lat lon elev\n# 01001 50.5 8.25 110\n#" + TABLE,
        NAMES + "# a remark\n" + ROWS + "# the end\n",
        NAMES + "\n" + ROWS + "\n\n",
        TABLE.replace("\n", ",\n"),
        NAMES + ROWS.replace("\n", ",\n"),
        '"time" "lat" "lon" "station" "t2m"\n"1" 2018-11-02T12:00 50.5 8.25 "01001" 281.5\n'
        '"2" 2018-11-02T13:00 50.5 8.25 "01001" 282.25\n',
    ],
    ids=range(14),
)
def test_preambles_comments_and_ends_of_rows(read, text):
    assert_is_table(read(text))


def test_marks_of_comments_inside_a_row_are_text(read):
    obs = read(TABLE.replace("01001", "buoy #5 !"))
    assert obs["station"].values.tolist() == ["buoy #5 !"] * 2


@pytest.mark.parametrize("name", ["reports.csv.{}", "reports.{}", "reports"])
@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_packed_files(read, kind, name):
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](TABLE.encode())
    assert_is_table(read(packed, name.format(kind)))


def test_zip_files_of_one_member(read, tmp_path):
    for names in (["a.csv"], ["folder/", "folder/a.txt"]):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "" if name.endswith("/") else TABLE)
        assert_is_table(read_observations(tmp_path / "a.zip", units={T: "K"}))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", TABLE)
        archive.writestr("b.csv", TABLE)
    with pytest.raises(ObservationError, match=r"two.zip: a zip file of 2 files \(a.csv, b.csv\).*unpack"):
        read_observations(tmp_path / "two.zip")


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "reports.csv").write_text(TABLE)
    assert_is_table(read_observations("~/reports.csv", units={T: "K"}))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (TABLE + "2018-11-02T14:00,50.5,8.25,01001,281.5,9\n", "line 4 has 6 fields"),
        (NAMES + ROWS * 100 + "2018-11-02T14:00,50.5,8.25,01001,281.5,9\n", "line 202"),
        (NAMES + ROWS.replace(",", ", ").replace("50.5, ", "50.5, 1, "), "line 2 has 6 fields"),
        (TABLE + '"2018-11-02T14:00,50.5\n', "line 4"),
        ("time lat lon t2m msl\n2018-11-02 50 8 281 1000\n2018-11-03 50 8 282\n", "line 3 has 4 fields.*read_fwf"),
        (ROWS, "no line of names"),
        ("one two three\nfour five six\n", "no line of names.*begins with 'one two three'"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (NAMES, "no rows"),
        ("time,lat,lon,t2m,t2m\n2018-11-02,1,2,3,4\n", "more than one column is named 't2m'"),
    ],
)
def test_tables_that_cannot_be_read_are_refused_with_their_path(read, text, complaint):
    with pytest.raises(ObservationError, match=rf"(?s)reports.csv: .*{complaint}"):
        read(text)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_damaged_or_false_packing_is_refused(read, tmp_path, kind):
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
            archive.writestr("a.csv", TABLE)
        data = (tmp_path / "whole.zip").read_bytes()
    else:
        data = packed[kind](TABLE.encode() * 50)
    with pytest.raises(ObservationError, match=rf"reports.csv.{kind}: the packed file is damaged"):
        read(data[: len(data) * 2 // 3], f"reports.csv.{kind}")
    with pytest.raises(ObservationError, match=rf"reports.csv.{kind}: not packed, although"):
        read(TABLE, f"reports.csv.{kind}")


def test_a_file_that_cannot_be_opened(tmp_path):
    path = tmp_path / "a.csv"
    path.symlink_to(tmp_path)
    with pytest.raises(ObservationError, match="folder without the metadata of Zarr"):
        read_observations(path)


names = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
table = st.lists(
    st.tuples(
        st.floats(-89.0, 89.0).map(lambda x: round(x, 4)), st.floats(-179.0, 179.0).map(lambda x: round(x, 4)), names
    ),
    min_size=1,
    max_size=5,
)


@given(table, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_what_pandas_writes_is_read_back(tmp_path_factory, rows, separator, encoding, comma):
    frame = pd.DataFrame(rows, columns=["lat", "lon", "station"]).assign(t2m=281.25, time="2018-11-02T12:00")
    path = tmp_path_factory.mktemp("table") / "a.txt"
    decimal = "," if comma and separator != "," else "."
    frame.to_csv(path, sep=separator, encoding=encoding, decimal=decimal, index=False)
    obs = read_observations(path, units={T: "K"})
    np.testing.assert_array_equal(obs["latitude"], frame["lat"])
    np.testing.assert_array_equal(obs["longitude"], frame["lon"])
    np.testing.assert_array_equal(obs[T], 281.25)
    assert obs["station"].values.tolist() == frame["station"].tolist()
