#!/usr/bin/env bash
# Builds the package and runs Python tests under other interpreters, each in a virtual
# environment of its own. Without PYTHON_TESTS, these are the tests that depend most on the
# interpreter. PYTHON_TESTS=tests/python runs all. A missing interpreter prints SKIPPED.
# Usage: test_pythons.sh REPORTS_DIR PYTHON...
set -euo pipefail

reports=$1
shift
mkdir -p "$reports"
rm -f "$reports"/python[0-9]*.{xml,skipped}
written=() status=0 path=$PATH
read -ra tests <<<"${PYTHON_TESTS:-tests/python/api tests/python/sources \
tests/python/threads tests/python/faults/test_hazards.py tests/python/faults/test_leaks.py}"

# Prints a working interpreter for a name such as python3.12. A pyenv shim may be on PATH
# and refuse to run, so each candidate is tried.
find_python() {
    local candidate
    for candidate in "$1" ~/.pyenv/versions/"${1#python}"*/bin/python; do
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

for name in "$@"; do
    if ! python=$(find_python "$name"); then
        note=$reports/$name.skipped
        python3 tools/count_tests.py --skip "$note" "$name is not on this machine"
        written+=("$note")
        continue
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    venv=.venv-$version report=$reports/python$version.xml
    echo "== $("$python" --version) in $venv"
    written+=("$report")
    [ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv"
    # Its own tools come first on PATH, as the main environment's do for make.
    export PATH=$PWD/$venv/bin:$path
    "$venv/bin/pip" install --quiet -r requirements/build.txt -r requirements/test.txt &&
        "$venv/bin/pip" install --quiet --no-deps --no-build-isolation \
            --config-settings=build-dir="build/python-$version" . &&
        "$venv/bin/python" -m pytest -n "${WORKERS:-2}" "${tests[@]}" --junitxml="$report" || status=1
done

if ! ls "$reports"/python[0-9]*.xml >/dev/null 2>&1; then
    exit "$status"
fi
python3 tools/count_tests.py "${written[@]}" || status=1
exit "$status"
