# Appends ROUNDS lines to FILE, each a single write(2): sh append.sh lock|no FILE ROUNDS NAME.
set -e
echo ready
cat
i=0
while [ "$i" -lt "$3" ]; do
	i=$((i + 1))
	(
		[ "$1" = no ] || flock 9
		echo "$4 $i" >&9
	) 9>>"$2"
done
