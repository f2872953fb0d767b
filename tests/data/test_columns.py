from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from nbopt.data.columns import as_columns
from nbopt.data.sources import as_source

NUMBERS = [[0.5, 1.0], [1.5, 0.0], [2.5, 1.0]]


def column(item, floats=torch.float32):
    columns, _converted = as_columns((item,), "train", floats)
    return columns[0]


FRAMES = {
    "floats": pd.DataFrame(NUMBERS),
    "a boolean column": pd.DataFrame(NUMBERS).assign(**{"1": [True, False, True]}).drop(columns=1),
    "nullable": pd.DataFrame(NUMBERS).convert_dtypes(),
    "objects": pd.DataFrame(NUMBERS, dtype=object),
    "decimals": pd.DataFrame([[Decimal(str(x)) for x in row] for row in NUMBERS]),
    "a category of numbers": pd.DataFrame(NUMBERS).astype({1: "category"}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_data_frame_of_numbers_becomes_floats_whatever_its_columns_are(name):
    tensor = column(FRAMES[name])
    assert tensor.dtype is torch.float32 and tensor.tolist() == NUMBERS


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan])
def test_gaps_become_not_a_number(missing):
    frame = pd.DataFrame(NUMBERS).convert_dtypes()
    frame.iloc[1, 0] = missing
    assert column(frame).isnan().tolist() == [[False, False], [True, False], [False, False]]


def test_masked_values_are_gaps():
    assert column(np.ma.masked_equal([1, 2, 3], 2)).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series([2, 0, 1]),
        pd.Series([2, 0, 1]).astype("Int64"),
        pd.Series([2, 0, 1]).astype("category"),
        pd.Series([2, 0, 1], dtype=object),
        np.array([2, 0, 1], dtype=">i2"),
        np.array([2, 0, 1], dtype=np.uint16),
        [2, 0, 1],
    ],
    ids=["int", "Int64", "category", "object", "big endian", "uint16", "list"],
)
def test_labels_in_any_type_become_whole_numbers(labels):
    tensor = column(labels)
    assert tensor.dtype is torch.int64 and tensor.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "booleans",
    [np.array([True, False]), pd.Series([True, False]), pd.Series([True, False]).astype("boolean"), [True, False]],
    ids=["array", "series", "nullable", "list"],
)
def test_booleans_stay_booleans(booleans):
    tensor = column(booleans)
    assert tensor.dtype is torch.bool and tensor.tolist() == [True, False]


@pytest.mark.parametrize(
    ("given", "floats", "kept"),
    [
        (torch.float64, torch.float32, torch.float32),
        (torch.float64, torch.float64, torch.float64),
        (torch.float32, torch.float64, torch.float64),
        (torch.float32, torch.float32, torch.float32),
        (torch.float16, torch.float64, torch.float16),
        (torch.bfloat16, torch.float32, torch.bfloat16),
        (torch.complex64, torch.float32, torch.complex64),
        (torch.bool, torch.float32, torch.bool),
        (torch.uint8, torch.float32, torch.uint8),
        (torch.int16, torch.float32, torch.int64),
        (torch.int64, torch.float64, torch.int64),
    ],
)
def test_the_rule_of_types(given, floats, kept):
    columns, converted = as_columns((torch.ones(3, 2, dtype=given),), "train", floats)
    assert columns[0].dtype is kept
    names = [str(dtype).removeprefix("torch.") for dtype in (given, kept)]
    assert converted == ("" if given is kept else f"{names[0]} data became {names[1]}")


def test_what_was_converted_is_told_once_and_python_s_numbers_are_not():
    assert as_columns((np.zeros((2, 1)), np.zeros(2)), "train", torch.float32)[1] == "float64 data became float32"
    assert as_columns(([[0.5], [1.5]], [0, 1]), "train", torch.float32)[1] == ""


def test_numbers_longer_than_torch_has_are_shortened():
    assert column(np.arange(3, dtype=np.longdouble)).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, "train cannot become a tensor, its rows differ in length: pad them"),
        (pd.Series(["a", "b"]).astype("category"), TypeError, "encode it as numbers first"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["1", "2"]}), TypeError, "encode it as numbers first"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["1", "2"]}), TypeError, "train holds .* in column 'b', which"),
        (
            pd.DataFrame({"a": [1.0, 2.0], "sex": pd.Categorical(["f", "m"])}),
            TypeError,
            "train holds category in column 'sex', which a network cannot take",
        ),
        (
            pd.DataFrame({"a": [1.0, 2.0], "day": pd.date_range("2020", periods=2)}),
            TypeError,
            r"train holds datetime64\[.*\] in column 'day', which",
        ),
        (pd.DataFrame({"a": [True, False], "t": pd.to_timedelta([1, 2], "s")}), TypeError, "in column 't', which"),
        (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), TypeError, "encode it as numbers first"),
        (np.array([1, 2], dtype="timedelta64[s]"), TypeError, "encode it as numbers first"),
    ],
    ids=[
        "ragged",
        "category of texts",
        "texts of digits",
        "column of texts",
        "column of categories",
        "column of dates",
        "column of times",
        "records",
        "times",
    ],
)
def test_what_holds_no_numbers_is_told_in_words(item, error, message):
    with pytest.raises(error, match=message):
        column(item)


def test_a_sparse_matrix_of_scipy_is_told_with_the_way_out():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"train holds a sparse csr_matrix: .*X.toarray\(\)"):
        as_source((sparse.csr_matrix(np.eye(3)), [0, 1, 2]), "train")


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_columns_make_sparse_batches(layout):
    x = torch.eye(7)[:, :4]
    source = as_source((x.to_sparse(layout=layout), torch.arange(7)), "train")
    source.begin(3)
    batches = [source.batch(start, start + 3) for start in (0, 3, 6)]
    assert {batch[0].layout for batch in batches} == {layout}
    for rows, labels in batches:
        assert torch.equal(rows.to_dense(), x[labels])
    assert sorted(torch.cat([labels for _rows, labels in batches]).tolist()) == list(range(7))
