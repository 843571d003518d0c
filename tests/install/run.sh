#!/usr/bin/env bash
# Installs the built C library and uses it as a user does. Compiles the examples with
# pkg-config's flags against the shared and the static library, and runs both. Checks the
# exported names. Usage: run.sh BUILD_DIR SOURCE_DIR. Prints TAP.
set -uo pipefail

build=$1 source=$2
CC=${CC:-cc} PYTHON=${PYTHON:-python3}
# The wrapper that meson has for the programs of another machine, or nothing.
wrapper=${MESON_EXE_WRAPPER:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0 failed=0

# check NAME COMMAND...: prints one TAP line. If the command fails, its output follows.
check() {
    local name=$1
    shift
    count=$((count + 1))
    if "$@" >"$work/log" 2>&1; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' "$work/log"
        failed=1
    fi
}

run_shared() { LD_LIBRARY_PATH=$libdir $wrapper "$@"; }

exports_only_bc() {
    local names
    names=$(nm -D --defined-only "$1" | awk '$2 != "A" {sub(/@.*/, "", $NF); print $NF}')
    [ -n "$names" ] && ! grep -v '^bc_[^_]' <<<"$names"
}

static_exports_only_bc() {
    local names
    names=$(nm -g --defined-only "$1" | awk 'NF == 3 {print $3}')
    [ -n "$names" ] && ! grep -v '^bc_[^_]' <<<"$names"
}

only_public_headers() {
    [ "$(cd "$1/batchcorder" && echo *)" = "batchcorder.h version.h" ]
}

# Every member of the first header of this ABI has its old offset and size.
keeps_layout() {
    $wrapper "$work/layout" >"$work/layout.now"
    ! grep -vxFf "$work/layout.now" "$source/tests/abi/layout-1.txt"
}

cxx_reads_header() {
    command -v c++ >/dev/null || return 0
    echo '#include <batchcorder/batchcorder.h>' >"$work/header.cc"
    c++ -std=c++11 -Wall -Wextra -Werror $cflags -c "$work/header.cc" -o "$work/header.o"
}

if command -v pkg-config >/dev/null; then
    pkgconfig=pkg-config
elif command -v pkgconf >/dev/null; then
    pkgconfig=pkgconf
else
    echo "1..0 # SKIP no pkg-config"
    exit 0
fi

check 'meson install' "$PYTHON" -m mesonbuild.mesonmain install -C "$build" \
    --destdir "$work/root" --no-rebuild
pc=$(find "$work/root" -name batchcorder.pc)
prefix=${pc%/lib*/pkgconfig/*}
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_LIBDIR=$libdir/pkgconfig
flags() { $pkgconfig --define-variable=prefix="$prefix" "$@" batchcorder; }
cflags=$(flags --cflags)

warnings='-std=c11 -Wall -Wextra -Wpedantic -Werror'
check 'compile against the shared library' \
    $CC $warnings $cflags "$source/examples/record.c" -o "$work/shared" $(flags --libs)
check 'run with the shared library' run_shared "$work/shared"
# The static library needs only itself and the threads.
check 'compile against the static library' \
    $CC $warnings $cflags "$source/examples/record.c" -o "$work/static" \
    "$libdir/libbatchcorder.a" -lpthread
check 'run with the static library' $wrapper "$work/static"
check 'a recording saved with one library' $wrapper "$work/static" "$work/x.arrows"
check 'compile the reader of recordings' \
    $CC $warnings $cflags "$source/examples/read.c" -o "$work/read" $(flags --libs)
check 'and read with the other' run_shared "$work/read" "$work/x.arrows"
check 'shared library exports only bc_*' exports_only_bc "$libdir/libbatchcorder.so"
check 'static library exports only bc_*' static_exports_only_bc "$libdir/libbatchcorder.a"
check 'soname is libbatchcorder.so.1' test -e "$libdir/libbatchcorder.so.1"
check 'two headers are installed' only_public_headers "$prefix/include"
check 'the header reads as C++' cxx_reads_header
check 'compile the layout' $CC $warnings $cflags "$source/tests/abi/layout.c" -o "$work/layout"
check 'the layout of ABI 1 is kept' keeps_layout
check 'compile a client of the first header of ABI 1' \
    $CC $warnings -I"$source/tests/abi/1" "$source/tests/abi/client.c" -o "$work/client" \
    $(flags --libs)
check 'run it with this library' \
    run_shared "$work/client" "$work/client.arrows"
echo "1..$count"
exit "$failed"
