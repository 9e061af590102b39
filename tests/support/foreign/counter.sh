# Adds 1 to the number in FILE, ROUNDS times, each time under flock(1): sh counter.sh FILE ROUNDS.
set -e
echo ready
cat
i=0
while [ "$i" -lt "$2" ]; do
	i=$((i + 1))
	(
		flock 9
		read -r number <"$1"
		echo $((number + 1)) >"$1"
	) 9<>"$1"
done
