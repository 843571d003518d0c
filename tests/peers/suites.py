"""The suites that `make test-peers` runs, where their tests are, and how they run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Suite:
    """Tests of another library."""

    name: str
    # requirements/NAME.txt: the environment.
    requirements: str
    # A source release of requirements/peers-sdists.txt; else the tests are installed.
    sdist: str | None
    # The folder of the tests, in the release or in site-packages.
    folder: str
    tests: list[str]
    ways: tuple[str, ...] = ("memory", "disk", "recording", "dataset", "tables")
    arguments: list[str] = field(default_factory=list)
    # The folder to run in, whose conftest.py counts.
    root: str = ""


POLARS_IGNORED = (
    "test_aws",
    "test_async",
    "test_iceberg",
    "test_json",
    "test_spreadsheet",
)
XORQ_INTO = ("pandas", "sqlite")
XORQ_STREAMS = ("stream_cache_deadlock", "register", "reentrancy")

SUITES = [
    Suite(
        "pyarrow",
        "peers",
        None,
        "pyarrow/tests",
        # Tests of files, flight, memory, threads and builds make no tables: left out.
        [
            *("test_table.py", "test_ipc.py", "test_cffi.py", "test_extension_type.py"),
            *("test_dataset.py", "test_acero.py", "test_compute.py", "test_array.py"),
            *("test_csv.py", "test_json.py", "test_feather.py", "test_orc.py"),
            *("test_pandas.py", "test_convert_builtin.py", "test_udf.py", "parquet"),
            *("test_types.py", "test_scalars.py", "test_schema.py", "interchange"),
        ],
        ways=("tables", "memory"),
        # Some tests wait for Ctrl-C, which does not reach a job in the background. If
        # `self_destruct` has used up a table, the next call crashes.
        arguments=["-k", "not cancellation and not self_destruct"],
        root="pyarrow",
    ),
    *(
        Suite(
            name,
            requirements,
            "duckdb",
            "tests/fast/arrow",
            ["."],
            ways=("memory", "disk", "recording", "registered"),
            # The tests are of DuckDB 1.3 and turn warnings into errors. One test executes
            # 10,000 statements for a single table.
            arguments=[
                *("-p", "duckdb_names", "-W", "ignore::DeprecationWarning"),
                *("-k", "not test_table_with_prepared_statements"),
            ],
            root="tests",
        )
        for name, requirements in [("duckdb-2", "peers"), ("duckdb-1", "peers-duckdb1")]
    ),
    Suite(
        "polars",
        "peers-polars",
        "polars",
        "py-polars/tests/unit",
        ["io", "interop"],
        arguments=[
            *("-m", "not slow and not write_disk and not benchmark and not docs"),
            # Two files have one name. More files need orjson, greenlet, pyiceberg, moto,
            # and libraries for spreadsheets.
            "--import-mode=importlib",
            *(f"--ignore-glob=*/{name}.py" for name in POLARS_IGNORED),
        ],
        root="py-polars/tests",
    ),
    Suite("nanoarrow", "peers", "nanoarrow", "tests", ["."]),
    Suite(
        "adbc-manager",
        "peers",
        "adbc_driver_manager",
        "tests",
        ["test_dbapi.py", "test_lowlevel.py", "test_polars.py", "test_reader.py"],
        arguments=["-p", "adbc"],
    ),
    Suite("adbc-sqlite", "peers", "adbc_driver_sqlite", "tests", ["."]),
    Suite(
        "pandas",
        "peers",
        None,
        "pandas/tests",
        [
            *("io/test_parquet.py", "io/test_feather.py", "io/test_orc.py"),
            *("frame/test_arrow_interface.py", "series/test_arrow_interface.py"),
            *("interchange", "arrays/string_", "arrays/period/test_arrow_compat.py"),
            *("arrays/masked/test_arrow_compat.py", "arrays/interval"),
        ],
        ways=("tables", "memory", "disk"),
        root="pandas",
    ),
    # xorq uses the package itself, so the run without it has batchcorder 0.1.3.
    Suite(
        "xorq",
        "peers-xorq",
        None,
        "xorq",
        # Tests that name the package or pass streams. Most of the other tests need data
        # that the wheel lacks.
        [
            *("expr/tests", "caching", "flight"),
            *(f"backends/{name}/tests/test_into_backend.py" for name in XORQ_INTO),
            *(f"backends/xorq_datafusion/tests/test_{name}.py" for name in XORQ_STREAMS),
        ],
        ways=("ours",),
        # Tests of servers, and a test that needs occupied ports, are left out.
        arguments=[
            *("-m", "not postgres and not s3 and not gcs and not trino"),
            *("-k", "not test_connect"),
        ],
        root="xorq",
    ),
]
