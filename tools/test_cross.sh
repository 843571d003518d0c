#!/usr/bin/env bash
# Builds the C tests for other machines, and runs them here, under qemu-user where
# tools/cross/TARGET.ini says so. Sweeps are sampled. Usage: test_cross.sh REPORTS TARGET...
# A target whose compiler or emulator is not installed counts as skipped.
set -uo pipefail

reports=$1
shift
count='python tools/count_tests.py'
mkdir -p "$reports"
status=0 written=()

# CROSS_SUITES='unit fault': the fault sweeps take minutes more under emulation.
suites=${CROSS_SUITES:-unit threads}
export BC_FAULT_EVERY=${BC_FAULT_EVERY:-23} BC_POWERLOSS_STATES=${BC_POWERLOSS_STATES:-400}
export BC_SOAK_SECONDS=${BC_SOAK_SECONDS:-2} BC_API_SECONDS=${BC_API_SECONDS:-2}

# The programs that a cross file names: the compiler's, and the emulator.
missing_program() {
    local program
    for program in $(sed -nE "s/^(c|ar|objcopy|exe_wrapper) = \[?'([^']*)'.*/\2/p" "$1"); do
        command -v "$program" >/dev/null || { echo "$program"; return; }
    done
}

# A big-endian machine is refused with a sentence, which this target checks.
check_refused() {
    rm -rf "build/cross-$1"
    if grep -q 'needs a little-endian' <<<"$(meson setup "build/cross-$1" --cross-file "$2")"; then
        echo "$1: refused, as it must be"
    else
        echo "$1: was not refused"
        status=1
    fi
}

for target in "$@"; do
    cross=tools/cross/$target.ini
    build=build/cross-$target
    report=$reports/cross-$target
    rm -f "$report".*
    echo "===== $target"
    missing=$(missing_program "$cross")
    if [ -n "$missing" ]; then
        $count --missing "$report.skipped" "$missing is missing, to build for $target" ||
            status=1
        written+=("$report.skipped")
        continue
    fi
    if grep -q "endian = 'big'" "$cross"; then
        check_refused "$target" "$cross"
        continue
    fi
    [ -e "$build/build.ninja" ] ||
        meson setup "$build" --cross-file "$cross" -Dbuildtype=debugoptimized -Dwerror=true ||
        status=1
    rm -f "$build/meson-logs/testlog.json"
    # It builds only the programs of these suites.
    meson test -C "$build" --print-errorlogs --timeout-multiplier 2 \
        $(printf -- '--suite %s ' $suites) || status=1
    cp "$build/meson-logs/testlog.json" "$report.json" || status=1
    written+=("$report.json")
    # Its own assertions fail in the child, in test_forks.c: not a test of ours.
    if grep -q '^exe_wrapper' "$cross" && [[ " $suites " != *' forks '* ]]; then
        $count --skip "$report.skipped" \
            'forks: qemu-user aborts in the child of a process with threads'
        written+=("$report.skipped")
    fi
done
[ ${#written[@]} = 0 ] || $count "${written[@]}" || status=1
exit "$status"
