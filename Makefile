# The extension is built by cargo and installed by install(1); the rest of the work is in scripts/.
#
#   make && sudo make install PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
#   make installcheck   on the running server that PGHOST, PGPORT and PGUSER name
#   make package        .build/package/: a tarball, and on Debian a .deb
#   make demo           from nothing to a delivered mail
#   make test           everything that must hold
#   make test-versions  the tests of SQL and of conversations on PostgreSQL 14, 16 and 17
#   make test-load      whether they pass on a busy machine: RUNS times the end-to-end tests on PostgreSQL VERSION
#   make mutants        whether the tests notice when a guard is taken away

PG_CONFIG ?= pg_config

MAJOR   = $(shell $(PG_CONFIG) --version 2>/dev/null | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" utl_smtp.control)
TARGET  = $(or $(CARGO_TARGET_DIR),target)
STAGE   = .build/pg$(MAJOR)

SOURCES = Cargo.toml Cargo.lock utl_smtp.control $(shell find src crates/*/src -type f) \
          $(wildcard crates/*/Cargo.toml)
LIBDIR  = $(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)
EXTDIR  = $(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension

# Released versions, which never change again, and the ways between them.
RELEASED = $(filter-out sql/utl_smtp--$(VERSION).sql sql/utl_mail--$(VERSION).sql, $(wildcard sql/utl_*--*.sql))
STAGED   = $(RELEASED:sql/%=$(STAGE)/%)

.DELETE_ON_ERROR:
.PHONY: build install installcheck package check test test-versions test-load demo bench soak fuzz mutants clean

# What is built is kept aside for each major version, so that `sudo make install` has nothing to compile.
build: $(STAGE)/utl_smtp.so $(STAGE)/utl_smtp--$(VERSION).sql $(STAGE)/utl_mail--$(VERSION).sql $(STAGED)

$(STAGE)/utl_smtp.so: $(SOURCES)
	@test -n "$(MAJOR)" || { echo "error: no PostgreSQL at PG_CONFIG=$(PG_CONFIG)" >&2; exit 1; }
	PGRX_PG_CONFIG_PATH="$$(command -v $(PG_CONFIG))" \
	    cargo build --release --locked --no-default-features --features pg$(MAJOR)
	install -D -m 755 $(TARGET)/release/libutl_smtp.so $@

# The parts are numbered: the order of their names is the order in which they run.
$(STAGE)/utl_smtp--$(VERSION).sql: $(sort $(wildcard sql/install/*.sql)) utl_smtp.control
	mkdir -p $(@D)
	cat /dev/null $(sort $(wildcard sql/install/*.sql)) >$@

$(STAGE)/utl_mail--$(VERSION).sql: $(sort $(wildcard sql/utl_mail/*.sql)) utl_mail.control
	mkdir -p $(@D)
	cat /dev/null $(sort $(wildcard sql/utl_mail/*.sql)) >$@

# An upgrade to the version at work includes the parts that are new in it; release.sh freezes it with them.
$(STAGED): $(STAGE)/%: sql/% $(wildcard sql/install/*.sql) scripts/include.awk
	mkdir -p $(@D)
	awk -f scripts/include.awk $< >$@

install: build
	install -d "$(LIBDIR)" "$(EXTDIR)"
	install -m 755 $(STAGE)/utl_smtp.so "$(LIBDIR)/utl_smtp.so"
	install -m 644 utl_smtp.control $(STAGE)/utl_smtp--$(VERSION).sql $(STAGED) "$(EXTDIR)/"
	install -m 644 utl_mail.control $(STAGE)/utl_mail--$(VERSION).sql "$(EXTDIR)/"

installcheck:
	@PG_CONFIG=$(PG_CONFIG) scripts/installcheck.sh

package: build
	@PG_CONFIG=$(PG_CONFIG) scripts/package.sh

check test demo bench:
	@scripts/$@.sh

# VERSIONS: only those, such as "14 17".
test-versions:
	@scripts/test-versions.sh $(VERSIONS)

test-load:
	@scripts/test-load.sh $(or $(RUNS),5) $(or $(VERSION),15)

# COUNT conversations in one backend, then in ten; then COUNT random queries; then a crash for every fifty of them.
soak:
	@scripts/soak.sh $(or $(COUNT),50000)

# SECONDS for each target, the whole minutes after which a finding becomes unlikely.
fuzz:
	@scripts/fuzz.sh $(or $(SECONDS),600)

# NAMES: only those patches of tests/mutants that have one of them in theirs.
mutants:
	@scripts/mutants.sh $(NAMES)

clean:
	cargo clean
	rm -rf .build
