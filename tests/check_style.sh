#!/usr/bin/env bash
# Layout and static checks: tests/check_style.sh [BUILD], BUILD being a meson build folder (default: build).
# Needs clang-format, cppcheck, clang-tidy. All three run, whatever the others find.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build=${1:-build}
jobs=$(nproc)
failed=()

step()
{
	local name=$1 start=$SECONDS
	shift
	if "$@"; then
		echo "style: $name: clean ($(( SECONDS - start )) s)"
	else
		echo "style: $name: FAILED ($(( SECONDS - start )) s)"
		failed+=("$name")
	fi
}

mapfile -t sources < <(find base backend fs tests -name '*.[ch]' | sort)
mapfile -t units < <(find base backend fs -name '*.c' | sort)
if (( ${#sources[@]} == 0 || ${#units[@]} == 0 )); then
	echo 'style: no sources found'
	exit 1
fi

layout()
{
	clang-format --dry-run --Werror "${sources[@]}"
}

# readdir(3) is safe on a stream of one's own, and readdir_r is going away.
cpp()
{
	cppcheck --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --quiet -j "$jobs" -I. \
		--std=c11 -D_GNU_SOURCE '-DPLOCKFS_VERSION="0"' --library=posix \
		--library=tests/support/cppcheck-uthash.cfg --suppress=missingIncludeSystem \
		--suppress=unmatchedSuppression --suppress=readdirCalled base backend fs
}

# Findings of the analyzer on stdin, but not those it has inside uthash's macros: it cannot follow
# that HASH_DEL of the last element frees the table, and that every list has a head.
but_not_in_macros()
{
	local line shown=1 file number
	while IFS= read -r line; do
		if [[ $line =~ ^([^:]+):([0-9]+):[0-9]+:\ (error|warning):.*\[ ]]; then
			file=${BASH_REMATCH[1]} number=${BASH_REMATCH[2]} shown=1
			[[ -e $file ]] || file=$build/$file # as the compiler was told
			[[ $line == *clang-analyzer-* ]] && sed -n "${number}p" "$file" | grep -qE '\b(HASH|DL)_[A-Z0-9_]+ ?\(' && shown=0
		fi
		(( shown )) && [[ ! $line =~ ^([0-9]+\ warnings?\ |Suppressed\ |Use\ -header) ]] && printf '%s\n' "$line"
	done
	return 0
}

# One file per process: findings about va_list leak from one file to the next otherwise.
tidy()
{
	local log real
	if [[ ! -f $build/compile_commands.json ]]; then
		echo "style: $build/compile_commands.json is missing: meson setup $build"
		return 1
	fi
	# Of tls.c and no_tls.c one is built.
	mapfile -t units < <(for unit in "${units[@]}"; do
		[[ $unit == */*tls.c ]] && ! grep -qF "/$unit\"" "$build/compile_commands.json" || echo "$unit"
	done)
	log=$(printf '%s\0' "${units[@]}" | xargs -0 -n 1 -P "$jobs" clang-tidy --quiet -p "$build" 2>&1) && return 0
	if ! grep -qE ': (error|warning):' <<<"$log"; then
		printf '%s\n' "$log"
		return 1
	fi
	real=$(but_not_in_macros <<<"$log")
	[[ -z $real ]] && return 0
	printf '%s\n' "$real"
	return 1
}

step "clang-format of ${#sources[@]} files" layout
step "cppcheck of base backend fs" cpp
step "clang-tidy of ${#units[@]} files" tidy
(( ${#failed[@]} == 0 ))
