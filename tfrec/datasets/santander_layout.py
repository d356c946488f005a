"""The 48 columns of Santander's `train_ver2.csv`, cleaned a block of lines at a time.

A month, a customer, 22 fields of the customer and 24 flags of products. The file is dirty in
known ways: numbers padded with blanks, " NA" or nothing for missing entries, both "1" and
"1.0", -999999 for an unknown seniority, ages of two and of 164 years.
"""

import csv
import dataclasses
import datetime
from collections.abc import Callable
from typing import NoReturn

import numpy
import pyarrow
import pyarrow.csv

from tfrec.datasets import bad_line, files

PRODUCTS = {
    "ind_ahor_fin_ult1": "Savings account (cuenta de ahorro)",
    "ind_aval_fin_ult1": "Guarantees (avales)",
    "ind_cco_fin_ult1": "Current account (cuenta corriente)",
    "ind_cder_fin_ult1": "Derivatives account (cuenta de derivados)",
    "ind_cno_fin_ult1": "Payroll account (cuenta nómina)",
    "ind_ctju_fin_ult1": "Junior account (cuenta junior)",
    "ind_ctma_fin_ult1": "Más Particular account (cuenta más particular)",
    "ind_ctop_fin_ult1": "Particular account (cuenta particular)",
    "ind_ctpp_fin_ult1": "Particular Plus account (cuenta particular plus)",
    "ind_deco_fin_ult1": "Short-term deposit (depósito a corto plazo)",
    "ind_deme_fin_ult1": "Medium-term deposit (depósito a medio plazo)",
    "ind_dela_fin_ult1": "Long-term deposit (depósito a largo plazo)",
    "ind_ecue_fin_ult1": "E-account (cuenta electrónica)",
    "ind_fond_fin_ult1": "Funds (fondos)",
    "ind_hip_fin_ult1": "Mortgage (hipoteca)",
    "ind_plan_fin_ult1": "Pension plan (plan de pensiones)",
    "ind_pres_fin_ult1": "Loan (préstamo)",
    "ind_reca_fin_ult1": "Taxes (impuestos)",
    "ind_tjcr_fin_ult1": "Credit card (tarjeta de crédito)",
    "ind_valo_fin_ult1": "Securities (valores)",
    "ind_viv_fin_ult1": "Home account (cuenta vivienda)",
    "ind_nomina_ult1": "Payroll (nómina)",
    "ind_nom_pens_ult1": "Pension paid in (pensión domiciliada)",
    "ind_recibo_ult1": "Direct debit (recibos domiciliados)",
}

_FLAGS = {"": False, "0": False, "0.0": False, "1": True, "1.0": True}


def _text(text: str) -> str:
    return text.removesuffix(".0")  # both "1" and "1.0" occur


def _between(low: float, high: float) -> Callable[[str], str]:
    """Cleans whole numbers in a range; all else is unknown."""

    def clean(text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            return ""
        return str(round(number)) if low <= number <= high else ""

    return clean


def _one_of(**names: str) -> Callable[[str], str]:
    return lambda text: names.get(text, "")


@dataclasses.dataclass(frozen=True)
class CustomerField:
    """One side field: its column in the file, its kind, and a function that cleans its texts."""

    column: str
    kind: str = "category"
    clean: Callable[[str], str] = _text


# Left out: tipodom (always 1), cod_prov (the number of nomprov), and ult_fec_cli_1t, which holds
# days after the month of its row.
FIELDS = {
    "employee": CustomerField("ind_empleado"),
    "country": CustomerField("pais_residencia"),
    "sex": CustomerField("sexo", clean=_one_of(H="H", V="V")),  # hembra, varón
    "age": CustomerField("age", "bucket", _between(0, 110)),
    "joined": CustomerField("fecha_alta", "bucket", lambda text: _between(1900, 2100)(text[:4])),
    "new_customer": CustomerField("ind_nuevo"),
    "seniority": CustomerField("antiguedad", "bucket", _between(0, 1200)),  # months
    "primary": CustomerField("indrel"),
    "relation": CustomerField("indrel_1mes"),
    "relation_type": CustomerField("tiprel_1mes"),
    "lives_here": CustomerField("indresi"),
    "foreigner": CustomerField("indext"),
    "spouse_of_employee": CustomerField("conyuemp"),
    "channel": CustomerField("canal_entrada"),
    "deceased": CustomerField("indfall"),
    "province": CustomerField("nomprov"),
    "active": CustomerField("ind_actividad_cliente"),
    "income": CustomerField("renta", "bucket", _between(0, 1e9)),  # of the household, euros a year
    "segment": CustomerField("segmento"),
}

_MONTH, _CUSTOMER = "fecha_dato", "ncodpers"
_NEEDED = (_MONTH, _CUSTOMER, *(field.column for field in FIELDS.values()), *PRODUCTS)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some lines of the file.

    Attributes:
        months: int64 `[n]`, calendar months since January 1970.
        customers: `[n]`, raw ids.
        held: bool `[n, 24]`, by product.
        fields: The distinct clean texts ("" where unknown) and the code of each line, by field.
        locate: Returns file and line of a row, given its number from 0.
    """

    months: numpy.ndarray
    customers: numpy.ndarray
    held: numpy.ndarray
    fields: dict[str, tuple[list[str], numpy.ndarray]]
    locate: Callable[[int], str]


def header(file: files.TextFile) -> list[str]:
    """The columns in file order.

    Raises:
        ValueError: a required column is missing.
    """
    names = [name.strip() for name in next(csv.reader([file.first_line()]))]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ValueError(
            f"{file.where}, line 1: no column {missing[0]!r} ({len(missing)} of {len(_NEEDED)} are "
            "missing); the first line must name the columns of train_ver2.csv"
        )
    return names


def parse(file: files.TextFile, names: list[str], first_line: int, block: bytes) -> Rows:
    """Parses whole lines to clean columns.

    Args:
        file: The file, for errors.
        names: The columns in file order.
        first_line: Number of the block's first line.
        block: The lines.

    Raises:
        ValueError: a bad line; the error gives its number and the column.
    """

    def locate(row: int) -> str:
        filled = (n for n, line in enumerate(block.split(b"\n"), first_line) if line.strip())
        return f"{file.where}, line {next(n for i, n in enumerate(filled) if i == row)}"

    try:
        table = _table(names, block)
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        _raise_error(file.where, names, first_line, block, str(error))

    def column(name: str, clean: Callable[[str], object], wrong: str = "") -> tuple:
        texts, codes = _coded(table[name])
        cleaned = [clean(text) for text in texts]
        if wrong and None in cleaned:
            row = int(numpy.argmax(numpy.isin(codes, [c is None for c in cleaned].index(True))))
            where = f"{locate(row)}, column {names.index(name) + 1} ({name})"
            raise ValueError(f"{where}: {texts[codes[row]]!r} {wrong}; {bad_line.CURE}")
        return cleaned, codes

    months, month = column(_MONTH, _month, "is not a date YYYY-MM-DD")
    ids, customer = column(_CUSTOMER, lambda text: text or None, "is not a customer's number")
    held = numpy.empty((len(table), len(PRODUCTS)), bool)
    for index, name in enumerate(PRODUCTS):
        flags, codes = column(name, _FLAGS.get, "is neither 0 nor 1")
        held[:, index] = numpy.array(flags, bool)[codes]
    return Rows(
        months=numpy.array(months, numpy.int64)[month],
        customers=numpy.array(ids, object)[customer],
        held=held,
        fields={name: column(f.column, f.clean) for name, f in FIELDS.items()},
        locate=locate,
    )


def _month(text: str) -> int | None:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return None
    return (day.year - 1970) * 12 + day.month - 1 if day.year > 1970 else None


def _table(names: list[str], block: bytes) -> pyarrow.Table:
    """Reads columns as dictionaries, so that only distinct texts need cleaning."""
    coded = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    return pyarrow.csv.read_csv(
        pyarrow.BufferReader(block),
        pyarrow.csv.ReadOptions(column_names=names),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, coded),
            include_columns=list(_NEEDED),
            strings_can_be_null=False,
        ),
    ).unify_dictionaries()


def _coded(column: pyarrow.ChunkedArray) -> tuple[list[str], numpy.ndarray]:
    """The distinct texts, stripped and without "NA", and the code of each row."""
    texts = [text.strip() for text in column.chunk(0).dictionary.to_pylist()]
    codes = numpy.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])
    return ["" if text == "NA" else text for text in texts], codes


def _raise_error(
    where: str, names: list[str], first_line: int, block: bytes, problem: str
) -> NoReturn:
    """Raises `ValueError` with the number of the first line whose number of columns is wrong."""
    for number, raw in enumerate(block.split(b"\n"), start=first_line):
        try:
            line = raw.decode().rstrip("\r")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}, line {number}: not utf-8 text ({error.reason})") from None
        found = len(next(csv.reader([line]), []))
        if line and found != len(names):
            raise ValueError(
                f"{where}, line {number}: {found} columns separated by ',', {len(names)} are "
                f"expected: {line[:60]!r}; {bad_line.CURE}"
            )
    raise ValueError(f"{where}, from line {first_line}: {problem}; {bad_line.CURE}")
