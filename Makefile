# Everything a developer runs. Needs a C compiler, make, and Python 3.11 or newer with venv
# and pip; all else goes into .venv and build/. `make help` lists the targets.

PYTHON ?= python3
PYTHONS ?= python3.12 python3.13
VENV := .venv
BIN := $(VENV)/bin
REPORTS := build/reports

# meson finds ninja, and the tests find pkgconf, in the virtual environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# One at a time: all build folders share subprojects/. Ninja uses the cores inside each.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PRECIOUS: build/%/build.ninja $(VENV)/.%.ok
.PHONY: help demo test test-long peer test-asan test-tsan test-python-asan test-valgrind soak fuzz \
	powerloss matrix exits test-torch test-ray test-remote test-duckdb1 test-peers test-pythons \
	test-packages test-cross lint analyze format bench bench-training bench-scaling \
	bench-simulation wheel sdist clean

C_FILES := $(shell find include src python tests bench examples -name '*.[ch]')
# How the third-party sources are built: meson does not see a change of these by itself.
OVERLAYS := $(shell find subprojects/*.wrap subprojects/packagefiles -type f \
	-not -name '*.tar.gz')
SOURCES := $(C_FILES) $(OVERLAYS) meson.build meson.options pyproject.toml src/meson.build \
	src/libbatchcorder.map $(shell find python -name '*.py*' -o -name meson.build)

help:
	@sed -n 's/^## //p' Makefile

# ---- environment: one stamp a requirements file ----

$(VENV)/.made:
	@rm -rf $(VENV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo '$(PYTHON) cannot make virtual environments: it lacks venv or ensurepip' \
	'(on Debian and Ubuntu: the package python3-venv).' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.%.ok: requirements/%.txt $(wildcard requirements/*.txt) | $(VENV)/.made
	$(BIN)/python -m pip install --quiet -r $<
	@touch $@

# The package, built in build/python so that only what changed is compiled again.
$(VENV)/.installed: $(SOURCES) $(VENV)/.build.ok $(VENV)/.runtime.ok
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation \
	--config-settings=build-dir=build/python .
	@touch $@

# ---- C builds: build/NAME with the options MESON_NAME ----

MESON_test := -Dbuildtype=debugoptimized
MESON_lint := -Dbuildtype=debugoptimized -Dwerror=true -Dpython=enabled -Dbench=true
MESON_asan := -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined \
	-Db_lundef=false -Dc_args=-fno-omit-frame-pointer
MESON_tsan := -Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false
MESON_fuzz := $(MESON_asan) -Dfuzz=true
MESON_bench := -Dbuildtype=release -Dtests=false -Dbench=true

build/%/build.ninja: Makefile $(OVERLAYS) $(VENV)/.build.ok
	rm -rf build/$*
	$(BIN)/meson setup build/$* $(MESON_$*)

build/fuzz/build.ninja: export CC := clang

# $(call c_tests,NAME,ARGUMENTS,REPORT): runs the C tests of build/NAME, under $wrapper if
# that is set. Leaves reports/REPORT.json (by default NAME.json). Sets status=1 if one fails.
c_tests = mkdir -p $(REPORTS); \
	rm -f $(REPORTS)/$(or $3,$1).json build/$1/meson-logs/testlog.json; \
	$$wrapper $(BIN)/meson test -C build/$1 --print-errorlogs $2 || status=1; \
	cp build/$1/meson-logs/testlog.json $(REPORTS)/$(or $3,$1).json || status=1
count = $(BIN)/python tools/count_tests.py
asan_options = \
	export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=1; \
	export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
# Older ThreadSanitizers cannot place their memory where the kernel randomises much.
tsan_options = \
	export TSAN_OPTIONS=halt_on_error=1:abort_on_error=1:second_deadlock_stack=1; \
	! setarch -R true 2>/dev/null || wrapper='setarch -R'

# ---- what people run ----

## make demo          records TPC-H data once and replays it to DuckDB, Polars and pandas
demo: $(VENV)/.demo.ok $(VENV)/.installed build/tpch/lineitem.parquet
	$(BIN)/python examples/quickstart.py build/tpch

build/tpch/lineitem.parquet: | $(VENV)/.demo.ok
	rm -rf build/tpch
	$(BIN)/tpchgen-cli parquet -s 0.1 --output-dir build/tpch

# Processes that share the Python tests.
export WORKERS ?= 2

## make test          the tests in C, of the installed library and in Python, in minutes
test: build/test/build.ninja $(VENV)/.test.ok $(VENV)/.installed peer
	@status=0; $(call c_tests,test,--no-suite long); \
	rm -f $(REPORTS)/python.xml; \
	$(BIN)/python -m pytest -n $(WORKERS) tests/python \
	--junitxml=$(REPORTS)/python.xml || status=1; \
	$(count) $(REPORTS)/test.json $(REPORTS)/python.xml || status=1; exit $$status

## make test-long     the sweeps and campaigns that `make test` leaves out
# Tests in Python with the marker `long`, tests in C of the suite `long`.
test-long: build/test/build.ninja $(VENV)/.test.ok $(VENV)/.installed
	@status=0; $(call c_tests,test,--suite long,long); \
	rm -f $(REPORTS)/python-long.xml; \
	$(BIN)/python -m pytest -n $(WORKERS) -m long tests/python \
	--junitxml=$(REPORTS)/python-long.xml || status=1; \
	$(count) $(REPORTS)/long.json $(REPORTS)/python-long.xml || status=1; exit $$status

SOAK_SECONDS ?= 120

## make test-asan     the C tests under AddressSanitizer and UBSan
test-asan: build/asan/build.ninja
	@$(asan_options); export BC_FLIP_EVERY=23; status=0; \
	$(call c_tests,asan,--timeout-multiplier 5); \
	$(count) $(REPORTS)/asan.json || status=1; exit $$status

## make test-tsan     the C tests with threads under ThreadSanitizer
test-tsan: build/tsan/build.ninja
	@$(tsan_options); status=0; \
	$(call c_tests,tsan,--timeout-multiplier 10 --suite threads --suite forks); \
	$(count) $(REPORTS)/tsan.json || status=1; exit $$status

# What calls our own C in many ways; the rest of the Python tests run so by
# `make test-python-asan PYTHON_ASAN=tests/python`.
PYTHON_ASAN ?= tests/python/sources tests/python/threads/test_threads.py \
	tests/python/remote/test_objects.py \
	$(patsubst %,tests/python/api/test_%.py,readers max_readers projection budget) \
	$(patsubst %,tests/python/files/test_%.py,every_type random_schemas dictionaries \
	compression disk_tier) \
	$(patsubst %,tests/python/faults/test_%.py,damaged_cache_file hazards)

## make test-python-asan  Python tests under AddressSanitizer and UBSan
test-python-asan: $(VENV)/.build.ok
	@status=0; tools/test_asan.sh $(REPORTS) $(BIN)/python $(PYTHON_ASAN) || status=1; \
	exit $$status

VALGRIND := valgrind --quiet --error-exitcode=9 --leak-check=full \
	--errors-for-leak-kinds=definite --fair-sched=yes

## make test-valgrind the C tests under valgrind
# Without the sweeps of all faults, which take too long and run under AddressSanitizer, and
# without forks.
test-valgrind: build/test/build.ninja
	@if ! valgrind --version; then \
		$(count) --missing $(REPORTS)/valgrind.skipped \
		'valgrind is missing (on Debian and Ubuntu: the package valgrind)'; exit $$?; fi; \
	export BC_SOAK_SECONDS=$${BC_SOAK_SECONDS:-5}; status=0; \
	mkdir -p $(REPORTS); rm -f $(REPORTS)/valgrind.json $(REPORTS)/valgrind.skipped; \
	$(BIN)/meson test -C build/test --wrapper '$(VALGRIND)' --print-errorlogs \
	--timeout-multiplier 10 --suite unit --suite threads || status=1; \
	cp build/test/meson-logs/testlog-valgrind.json $(REPORTS)/valgrind.json || status=1; \
	$(count) $(REPORTS)/valgrind.json || status=1; exit $$status

## make matrix        sources, consumers, threads at random, MATRIX_RUNS=1000 draws
MATRIX_RUNS ?= 1000
matrix: $(VENV)/.test.ok $(VENV)/.installed
	@export BC_MATRIX_RUNS=$(MATRIX_RUNS) BC_MATRIX_SEED=$$(date +%s); \
	echo "BC_MATRIX_SEED=$$BC_MATRIX_SEED"; \
	$(BIN)/python -m pytest -m '' tests/python/threads/test_random_consumers.py

## make exits         interpreters that end while threads and C code work, EXIT_RUNS=200
EXIT_RUNS ?= 200
exits: $(VENV)/.test.ok $(VENV)/.installed
	@export BC_EXIT_RUNS=$(EXIT_RUNS) BC_EXIT_SEED=$$(date +%s); \
	echo "BC_EXIT_SEED=$$BC_EXIT_SEED"; \
	$(BIN)/python -m pytest -m '' tests/python/threads/test_exit.py

## make powerloss     simulated losses of power, POWERLOSS_STATES=200000
POWERLOSS_STATES ?= 200000
powerloss: build/test/build.ninja
	@export BC_POWERLOSS_STATES=$(POWERLOSS_STATES) BC_POWERLOSS_SEED=$$(date +%s); \
	echo "BC_POWERLOSS_SEED=$$BC_POWERLOSS_SEED"; status=0; \
	$(call c_tests,test,--timeout-multiplier 100 powerloss); \
	$(count) $(REPORTS)/test.json || status=1; exit $$status

## make soak          threads at random under both sanitizers, SOAK_SECONDS=120 each
soak: build/asan/build.ninja build/tsan/build.ninja
	@export BC_SOAK_SECONDS=$(SOAK_SECONDS) BC_SOAK_SEED=$$(date +%s) \
	BC_API_SECONDS=$(SOAK_SECONDS) BC_API_SEED=$$(date +%s); \
	echo "BC_SOAK_SEED=$$BC_SOAK_SEED"; status=0; \
	$(asan_options); $(call c_tests,asan,--timeout-multiplier 100 random api); \
	$(tsan_options); $(call c_tests,tsan,--timeout-multiplier 100 random api); \
	$(count) $(REPORTS)/asan.json $(REPORTS)/tsan.json || status=1; exit $$status

## make fuzz          files, damaged recordings and hostile streams, FUZZ_SECONDS=60 each
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.build.ok $(VENV)/.installed
	@if ! echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null; then \
		$(count) --missing $(REPORTS)/fuzz.skipped \
		'clang or its fuzzer is missing (on Debian and Ubuntu: clang, libclang-rt-dev)'; \
		exit $$?; fi; \
	status=0; rm -rf build/fuzz/seeds $(REPORTS)/fuzz.xml $(REPORTS)/fuzz.skipped; \
	$(MAKE) --no-print-directory build/fuzz/build.ninja && \
	$(BIN)/python tests/fuzz/seeds.py build/fuzz/seeds && \
	$(BIN)/python tests/fuzz/run.py build/fuzz $(FUZZ_SECONDS) $(REPORTS)/fuzz.xml || \
	status=1; \
	$(count) $(REPORTS)/fuzz.xml || status=1; exit $$status

## make test-torch    the tests of batchcorder.torch, with PyTorch for the CPU
test-torch: $(VENV)/.torch.ok $(VENV)/.installed $(VENV)/.lint.ok
	@status=0; $(BIN)/python tools/check_docstrings.py || status=1; mkdir -p $(REPORTS); rm -f $(REPORTS)/torch.xml; \
	$(BIN)/python -m pytest -n $(WORKERS) tests/training \
	--junitxml=$(REPORTS)/torch.xml || status=1; \
	$(count) $(REPORTS)/torch.xml || status=1; exit $$status

## make test-ray      the tests of batchcorder.ray, with clusters of Ray on this machine
test-ray: $(VENV)/.ray.ok $(VENV)/.installed $(VENV)/.lint.ok
	@status=0; $(BIN)/python tools/check_docstrings.py || status=1; mkdir -p $(REPORTS); \
	rm -f $(REPORTS)/ray.xml; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/ray \
	--junitxml=$(REPORTS)/ray.xml || status=1; \
	$(count) $(REPORTS)/ray.xml || status=1; exit $$status

## make test-remote   the tests of object stores, with servers on this machine
test-remote: $(VENV)/.remote.ok $(VENV)/.installed
	@status=0; mkdir -p $(REPORTS); rm -f $(REPORTS)/remote.xml; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/remote \
	--junitxml=$(REPORTS)/remote.xml || status=1; \
	$(count) $(REPORTS)/remote.xml || status=1; exit $$status

## make test-duckdb1  the tests of DuckDB with the newest DuckDB 1
test-duckdb1: $(VENV)/.installed
	@tools/test_duckdb1.sh $(REPORTS) $(BIN)/python

## make test-peers    other libraries' own tests, with the package in between (an hour)
# PEERS='duckdb-2 polars:disk': these suites, this way only; tests/peers/suites.py has all.
test-peers: $(VENV)/.installed
	@tools/test_peers.sh $(REPORTS) $(BIN)/python $(PEERS)

## make test-pythons  builds and tests under other interpreters (PYTHONS='python3.12 ...')
test-pythons:
	@status=0; tools/test_pythons.sh $(REPORTS) $(PYTHONS) || status=1; exit $$status

## make test-packages installs a bare checkout, and the sdist without network
test-packages: sdist
	tests/install/packages.sh $(BIN)/python dist/batchcorder-*.tar.gz

# CROSS names files of tools/cross/. The Debian packages: qemu-user, and for these two
# gcc-arm-linux-gnueabihf and gcc-s390x-linux-gnu.
CROSS ?= armhf s390x
## make test-cross    the C tests for other machines, under qemu-user (CROSS='armhf s390x')
test-cross: $(VENV)/.build.ok
	@status=0; tools/test_cross.sh $(REPORTS) $(CROSS) || status=1; exit $$status

## make lint          formatting, linters, types, a build with warnings as errors, analyzers
lint: $(VENV)/.lint.ok $(VENV)/.installed build/lint/build.ninja
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_prose.py
	$(BIN)/python tools/check_includes.py
	$(BIN)/python tools/check_docstrings.py
	$(BIN)/python tools/check_clocks.py
	$(BIN)/python tools/check_commits.py
	$(BIN)/meson compile -C build/lint
	$(BIN)/python tools/analyze.py build/lint

## make analyze       the last part of it: clang-tidy, and gcc's -fanalyzer, on the core
analyze: $(VENV)/.lint.ok build/lint/build.ninja
	$(BIN)/python tools/analyze.py build/lint

## make format        rewrites the sources as `make lint` wants them
format: $(VENV)/.lint.ok
	$(BIN)/clang-format -i $(C_FILES)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## make bench         measures against the Rust batchcorder 0.1.3; writes docs/performance.md
bench: build/bench/build.ninja $(VENV)/.bench.ok $(VENV)/.installed build/rust-0.1.3
	$(BIN)/meson compile -C build/bench
	$(BIN)/python bench/run.py --rust build/rust-0.1.3 --build build/bench \
	--json build/bench.json
	$(BIN)/python bench/tpch_run.py --rust build/rust-0.1.3 --json build/bench-tpch.json
	$(BIN)/python bench/page.py build/bench.json docs/performance.md \
	--tpch build/bench-tpch.json
	@$(MAKE) --no-print-directory bench-training
	@$(MAKE) --no-print-directory bench-simulation

## make bench-training  compares loaders of PyTorch (half an hour); writes docs/performance.md
bench-training: $(VENV)/.torch-bench.ok $(VENV)/.bench.ok $(VENV)/.installed
	$(BIN)/python bench/training.py --json build/bench-training.json
	$(BIN)/python bench/page.py docs/performance.md --training build/bench-training.json

## make bench-scaling compares Flight, Ray Data and object stores; writes docs/performance.md
bench-scaling: $(VENV)/.ray.ok $(VENV)/.bench.ok $(VENV)/.installed
	$(BIN)/python bench/flight.py --json build/bench-flight.json
	$(BIN)/python bench/ray_data.py --json build/bench-ray.json
	$(BIN)/python bench/page.py docs/performance.md --flight build/bench-flight.json \
	--ray build/bench-ray.json
	$(BIN)/python bench/flight_batches.py --page docs/performance.md
	$(BIN)/python bench/object_stores.py --page docs/performance.md
	@$(MAKE) --no-print-directory bench-simulation

## make bench-simulation simulates 1,000 workers with these figures; writes docs/scaling.md
bench-simulation: $(VENV)/.made
	$(BIN)/python bench/scaling_simulation.py --page docs/scaling.md

build/rust-0.1.3: requirements/peer.txt | $(VENV)/.made
	rm -rf $@
	$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --target $@ -r $<
	@touch $@

# The tests that compare with it are skipped where it has no wheel.
peer:
	@$(MAKE) --no-print-directory build/rust-0.1.3 || \
	echo 'SKIPPED: batchcorder 0.1.3 cannot be installed to compare with'

## make wheel         the abi3 wheel in dist/, audited
wheel: $(VENV)/.build.ok $(VENV)/.wheel.ok
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist \
	--config-settings=build-dir=build/python .
	$(BIN)/abi3audit --strict --summary dist/batchcorder-*-abi3-*.whl

## make sdist         the source release in dist/, third-party sources included
# Packs the last commit: what is not committed is not in it.
sdist: $(VENV)/.build.ok
	rm -f dist/*.tar.gz
	$(BIN)/python -c 'import mesonpy; print(mesonpy.build_sdist("dist"))'

## make clean         removes all that was built; the downloaded sources stay
clean:
	rm -rf build dist $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
