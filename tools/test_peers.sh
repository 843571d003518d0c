#!/usr/bin/env bash
# Runs other libraries' own suites with the package in between, and compares the results
# of other libraries for its objects. Needs the network, about 3 GB of disk, and an hour.
# Usage: test_peers.sh REPORTS_DIR PYTHON [SUITE[:WAY] ...], as tests/peers/run.py has them.
set -euo pipefail

reports=$1 python=$2 work=build/peers
shift 2
mkdir -p "$reports" "$work"
rm -rf "$reports"/peers*.xml "$reports/peers.skipped" "$work/package"

if ! "$python" -m pip download --quiet --no-deps --dest "$work" xorq==0.4.9; then
    "$python" tools/count_tests.py --skip "$reports/peers.skipped" \
        "the peers' packages cannot be downloaded"
    exit
fi
# For all environments: the extension is of the stable ABI.
"$python" -m pip install --quiet --no-deps --no-build-isolation --target "$work/package" \
    --config-settings=build-dir=build/python .

status=0
"$python" tests/peers/run.py "$work/package" "$work" "$reports/peers.xml" "$@" || status=1
if [ $# = 0 ]; then
    PYTHONPATH=$work/package:tests/peers "$work/venv-peers/bin/python" -m pytest -q \
        tests/peers/test_neighbours.py --junitxml="$reports/peers-neighbours.xml" ||
        status=1
fi
"$python" tools/count_tests.py "$reports"/peers*.xml || status=1
exit "$status"
