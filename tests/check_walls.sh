#!/usr/bin/env bash
# The walls between the folders hold: base <- backend <- fs, FUSE only in fs/, hiredis only in
# backend/redis*, concrete backends named in fs/main.c only; and meson.build forgets no source or test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
broken=0

# deny TITLE REGEX FILE...: no file may include what the extended regex matches.
deny()
{
	local title=$1 regex=$2 found
	shift 2
	if (( $# == 0 )); then
		echo "walls: $title: no file to look at"
		broken=1
		return
	fi
	# grep exits 1 when nothing is found, which is what is wanted, and more on errors
	found=$(grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($regex)" "$@" /dev/null) || (( $? == 1 ))
	if [[ -n $found ]]; then
		printf 'walls: %s\n%s\n' "$title" "$found"
		broken=1
	fi
}

mapfile -t base < <(find base -name '*.[ch]' | sort)
mapfile -t backend < <(find backend -name '*.[ch]' | sort)
mapfile -t fs < <(find fs -name '*.[ch]' | sort)
mapfile -t fs_but_main < <(find fs -name '*.[ch]' ! -path fs/main.c | sort)
mapfile -t no_redis < <(find base backend fs -name '*.[ch]' ! -path 'backend/redis*' | sort)

deny 'base/ includes only base/'              '(\.\./|backend/|fs/|tests/)' "${base[@]}"
deny 'backend/ includes nothing of fs/'       '(\.\./|fs/|tests/)' "${backend[@]}"
deny 'no FUSE header outside fs/'             '(fuse|linux/fuse)' "${base[@]}" "${backend[@]}"
deny 'fs/ includes nothing of tests/'         '(\.\./|tests/)' "${fs[@]}"
deny 'hiredis only in backend/redis*'         'hiredis' "${no_redis[@]}"
deny 'only fs/main.c names concrete backends' 'backend/(file|redis)/' "${fs_but_main[@]}"
deny 'fs/ sees no implementer side'           'backend/interface\.h' "${fs_but_main[@]}"

# Every file is built: meson.build has explicit lists.
while read -r file; do
	grep -qF "'$file'" meson.build || { echo "walls: not in meson.build: $file"; broken=1; }
done < <(find base backend fs -name '*.c' | sort)
while read -r file; do
	name=${file##*/test_}
	grep -qE "'(${name%.*}|${file#tests/})'" tests/meson.build || { echo "walls: not in tests/meson.build: $file"; broken=1; }
done < <(find tests/unit tests/contract tests/fuzz tests/mount tests/fault -name 'test_*.c' -o -name 'test_*.py' -o -name 'fuzz_*.c' | sort)

(( broken == 0 )) && echo "walls: hold ($(( ${#base[@]} + ${#backend[@]} + ${#fs[@]} )) files)"
exit "$broken"
