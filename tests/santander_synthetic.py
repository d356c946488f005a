"""SYNTHETIC months in Santander's layout: for tests and benchmarks of speed, never for results.

The real file may not be redistributed. This one has its 48 columns and its defects (padded
numbers, " NA", both "1" and "1.0", missing fields, customers who join and leave), and structure
that can be learned: customers of a segment prefer its products, and holding one product makes
the next one of a chain likely.
"""

import gzip
import pathlib

import numpy
import pyarrow
import pyarrow.compute

from tfrec.datasets.santander_layout import PRODUCTS

COLUMNS = (
    *("fecha_dato", "ncodpers", "ind_empleado", "pais_residencia", "sexo", "age", "fecha_alta"),
    *("ind_nuevo", "antiguedad", "indrel", "ult_fec_cli_1t", "indrel_1mes", "tiprel_1mes"),
    *("indresi", "indext", "conyuemp", "canal_entrada", "indfall", "tipodom", "cod_prov"),
    *("nomprov", "ind_actividad_cliente", "renta", "segmento", *PRODUCTS),
)

_SEGMENTS = ("01 - TOP", "02 - PARTICULARES", "03 - UNIVERSITARIO")
_PROVINCES = ('"MADRID"', '"BARCELONA"', '"CORUÑA, A"', '"SEVILLA"', '"GIPUZKOA"')
_CHANNELS = ("KHE", "KAT", "KFC", "KHD", "KFA")
_NAMES = list(PRODUCTS)
_AT_FIRST = {"cco_fin": 0.75, "recibo": 0.12, "cno_fin": 0.08, "ctop_fin": 0.1, "ecue_fin": 0.08}
_LIKED = (  # by segment: products that are added more often
    ("valo_fin", "fond_fin", "dela_fin", "plan_fin", "hip_fin"),
    ("recibo", "tjcr_fin", "reca_fin", "nom_pens", "ctpp_fin"),
    ("ecue_fin", "cno_fin", "ctju_fin", "tjcr_fin", "ctma_fin"),
)
_CHAINS = (  # holding the first makes adding the second likely
    *(
        ("cno_fin", "nomina"),
        ("nomina", "nom_pens"),
        ("nom_pens", "recibo"),
        ("recibo", "reca_fin"),
    ),
    *(("ecue_fin", "tjcr_fin"), ("valo_fin", "fond_fin"), ("fond_fin", "plan_fin")),
    *(("ctop_fin", "ctpp_fin"), ("dela_fin", "valo_fin")),
)
_ADD, _LIKE, _CHAIN, _DROP = 0.0005, 0.008, 0.12, 0.02  # chances a month
_LEAVE = 0.004
_FIRST_MONTH = numpy.datetime64("2015-01")


def write(
    path: str | pathlib.Path, customers: int = 2000, months: int = 6, seed: int = 0
) -> pathlib.Path:
    """Writes a synthetic `train_ver2.csv`, the same bytes for the same arguments.

    Args:
        path: The file; packed if it ends in ".gz".
        customers: How many there are in the end; a tenth comes after the first month.
        months: How many, from January 2015.
        seed: Seeds everything.
    """
    path, draw = pathlib.Path(path), numpy.random.default_rng(seed)
    opener = gzip.open if path.suffix == ".gz" else open
    people = _People(customers, months, draw)
    with opener(path, "wb") as file:
        file.write((",".join(f'"{name}"' for name in COLUMNS) + "\n").encode())
        for month in range(months):
            lines = people.live(month)
            file.write(("\n".join(lines.to_pylist()) + "\n").encode())
    return path


class _People:
    """The customers and what they hold."""

    def __init__(self, n: int, months: int, draw: numpy.random.Generator) -> None:
        self._draw = draw
        self._ids = 15_889 + draw.permutation(n)
        self._segment = draw.choice(3, n, p=[0.1, 0.5, 0.4])
        late = draw.random(n) < 0.1
        self._from = numpy.where(late, draw.integers(1, max(2, months), n), 0)
        self._gone = numpy.zeros(n, bool)
        self._seniority = draw.integers(0, 240, n)
        self._fixed = self._describe(n)
        self._held = draw.random((n, len(_NAMES))) < _chances(_AT_FIRST)
        like = numpy.full((3, len(_NAMES)), _ADD)
        for segment, liked in enumerate(_LIKED):
            like[segment, [_index_of(name) for name in liked]] = _LIKE
        self._like = like[self._segment]

    def live(self, month: int) -> pyarrow.Array:
        """The lines of one month, counted from 0; customers change what they hold before it."""
        draw = self._draw
        here = (self._from <= month) & ~self._gone
        chance = self._like.copy()
        for first, second in _CHAINS:
            chance[self._held[:, _index_of(first)], _index_of(second)] += _CHAIN
        luck = draw.random(self._held.shape)
        if month:
            old = (self._from < month)[:, numpy.newaxis]
            changed = numpy.where(self._held, luck >= _DROP, luck < chance)
            self._held = numpy.where(old, changed, self._held)
        self._gone |= draw.random(len(self._gone)) < _LEAVE
        return self._lines(numpy.flatnonzero(here), month)

    def _describe(self, n: int) -> dict[str, pyarrow.Array]:
        """The columns that stay the same."""
        draw = self._draw
        missing = draw.random(n) < 0.005
        age = numpy.where(self._segment == 2, draw.integers(18, 30, n), draw.integers(25, 116, n))
        income = numpy.round(draw.lognormal(11.4, 0.6, n), 2).astype(str)
        province = draw.integers(0, len(_PROVINCES), n)
        columns = {
            "ind_empleado": numpy.full(n, "N"),
            "pais_residencia": numpy.where(draw.random(n) < 0.98, "ES", "FR"),
            "sexo": numpy.where(draw.random(n) < 0.5, "H", "V"),
            "indrel": numpy.where(draw.random(n) < 0.99, " 1", "99"),
            "indrel_1mes": numpy.where(draw.random(n) < 0.5, "1", "1.0"),
            "tiprel_1mes": numpy.where(draw.random(n) < 0.6, "I", "A"),
            "indresi": numpy.full(n, "S"),
            "indext": numpy.where(draw.random(n) < 0.95, "N", "S"),
            "canal_entrada": numpy.array(_CHANNELS)[draw.integers(0, len(_CHANNELS), n)],
            "indfall": numpy.full(n, "N"),
            "cod_prov": (province + 1).astype(str),
            "nomprov": numpy.array(_PROVINCES)[province],
            "segmento": numpy.array(_SEGMENTS)[self._segment],
        }
        columns = {name: numpy.where(missing, "", column) for name, column in columns.items()}
        padded = {
            "age": numpy.char.rjust(age.astype(str), 3),
            "ind_actividad_cliente": numpy.where(draw.random(n) < 0.5, " 1", " 0"),
            "tipodom": numpy.full(n, " 1"),
        }
        padded = {name: numpy.where(missing, " NA", column) for name, column in padded.items()}
        income = numpy.where(draw.random(n) < 0.2, "", income)
        empty = {"ult_fec_cli_1t": numpy.full(n, ""), "conyuemp": numpy.full(n, "")}
        return {
            name: pyarrow.array(column)
            for name, column in (columns | padded | empty | {"renta": income}).items()
        }

    def _lines(self, who: numpy.ndarray, month: int) -> pyarrow.Array:
        """The rows of the customers `who`, joined by commas."""
        now = _FIRST_MONTH + month
        joined = (_FIRST_MONTH - self._seniority[who]).astype("datetime64[D]") + 10
        changing = {
            "fecha_dato": numpy.full(len(who), f"{now}-28"),
            "ncodpers": self._ids[who].astype(str),
            "fecha_alta": joined.astype(str),
            "ind_nuevo": numpy.where(self._seniority[who] + month < 6, " 1", " 0"),
            "antiguedad": numpy.char.rjust((self._seniority[who] + month).astype(str), 7),
        }
        columns = {name: pyarrow.array(column) for name, column in changing.items()}
        columns |= {name: column.take(pyarrow.array(who)) for name, column in self._fixed.items()}
        unsure = self._draw.random(len(who)) < 0.001
        for index, name in enumerate(_NAMES):
            flags = numpy.where(self._held[who, index], "1", "0")
            if name in ("ind_nomina_ult1", "ind_nom_pens_ult1"):
                flags = numpy.where(unsure, "NA", numpy.char.rjust(flags, 2))
            columns[name] = pyarrow.array(flags)
        ordered = [columns[name] for name in COLUMNS]
        return pyarrow.compute.binary_join_element_wise(*ordered, ",")


def _index_of(product: str) -> int:
    return _NAMES.index(f"ind_{product}_ult1")


def _chances(of: dict[str, float]) -> numpy.ndarray:
    """A chance for each product, 0 if none is given."""
    chances = numpy.zeros(len(_NAMES))
    for product, chance in of.items():
        chances[_index_of(product)] = chance
    return chances
