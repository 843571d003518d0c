#!/usr/bin/env bash
# Runs the tests of DuckDB, and of Ibis over it, with the newest DuckDB 1, in a virtual
# environment of their own. If DuckDB 1 cannot be installed, the run prints SKIPPED.
# Usage: test_duckdb1.sh REPORTS_DIR PYTHON, the interpreter whose environment builds.
set -euo pipefail

report=$1/duckdb1.xml note=$1/duckdb1.skipped python=$2 venv=.venv-duckdb1 wheels=build/duckdb1
mkdir -p "$1"
rm -rf "$report" "$note" "$wheels"

[ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv"
duckdb=$(grep '^duckdb==' requirements/duckdb1.txt)
if ! "$venv/bin/pip" install --quiet "$duckdb"; then
    python3 tools/count_tests.py --skip "$note" "$duckdb does not install on this machine"
    exit
fi
"$venv/bin/pip" install --quiet -r requirements/duckdb1.txt
# The package that make built, as a wheel.
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$wheels" \
    --config-settings=build-dir=build/python .
"$venv/bin/pip" install --quiet --no-deps --force-reinstall "$wheels"/batchcorder-*.whl

status=0
"$venv/bin/python" -m pytest tests/python/clients/test_{duckdb,ibis}*.py \
    --junitxml="$report" || status=1
python3 tools/count_tests.py "$report" || status=1
exit "$status"
