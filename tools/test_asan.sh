#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UBSan into a virtual environment of its own
# and runs Python tests with it. Without the sanitizer's library, the run prints SKIPPED.
# Usage: test_asan.sh REPORTS_DIR PYTHON [PYTEST_ARGUMENT...]
set -euo pipefail

report=$1/python-asan.xml note=$1/python-asan.skipped python=$2 venv=.venv-asan
shift 2
mkdir -p "$(dirname "$report")"
rm -f "$report" "$note"

runtime=$(${CC:-cc} -print-file-name=libasan.so)
if [ ! -e "$runtime" ]; then
    python3 tools/count_tests.py --missing "$note" "${CC:-cc} has no libasan.so"
    exit
fi
[ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv"
export PATH=$PWD/$venv/bin:$PATH
"$venv/bin/pip" install --quiet -r requirements/build.txt -r requirements/test.txt
"$venv/bin/pip" install --quiet --no-deps --no-build-isolation \
    --config-settings=build-dir=build/python-asan \
    --config-settings=setup-args=-Dbuildtype=debug \
    --config-settings=setup-args=-Doptimization=1 \
    --config-settings=setup-args=-Db_sanitize=address,undefined \
    --config-settings=setup-args=-Db_lundef=false \
    --config-settings=setup-args=-Dc_args=-fno-omit-frame-pointer .

# Python and other libraries leak on purpose.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
# Without the C++ library, ASan does not find the functions that it intercepts.
export LD_PRELOAD="$runtime $(${CC:-cc} -print-file-name=libstdc++.so.6)"
status=0
"$venv/bin/python" -m pytest -n "${WORKERS:-2}" -p no:cacheprovider "$@" --junitxml="$report" || status=1
unset LD_PRELOAD
python3 tools/count_tests.py "$report" || status=1
exit "$status"
