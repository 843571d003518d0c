#!/usr/bin/env bash
# Installs the package as a user does. Usage: packages.sh PYTHON SDIST
#  1. `pip install .` of a bare clone (no third-party source in it) in a bare virtual
#     environment: pip's isolated build fetches its requirements.
#  2. `pip install` of the sdist without a network: its dependencies are installed.
set -euo pipefail

python=$(realpath -s "$1") sdist=$(realpath "$2")
root=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

offline=()
for namespace in 'unshare -n' 'unshare -rn'; do
    if $namespace true 2>/dev/null; then
        offline=($namespace)
        break
    fi
done
[ ${#offline[@]} -gt 0 ] || echo "note: no network namespace here, relying on --no-index"

echo "== a bare clone in a bare virtual environment"
git clone --quiet "$root" "$work/clone"
"$python" -m venv "$work/bare"
"$work/bare/bin/pip" install --quiet --constraint "$root/requirements/runtime.txt" "$work/clone"
(cd "$work" && bare/bin/python "$root/tests/install/smoke.py")

echo "== the sdist without network"
"$python" -m venv "$work/offline"
"$work/offline/bin/pip" install --quiet -r "$root/requirements/build.txt" \
    -r "$root/requirements/runtime.txt"
(
    export PATH=$work/offline/bin:$PATH
    "${offline[@]}" "$work/offline/bin/pip" install --quiet --no-index --no-build-isolation "$sdist"
)
(cd "$work" && offline/bin/python "$root/tests/install/smoke.py")
echo "both installs work"
