# SPDX-License-Identifier: MIT
# What the proofs share. Sourced by prove.sh, which a guest runs as `sh prove.sh PACKAGE`: it shows from user space
# that an update takes effect and goes away again, twice over, and ends with 0 only if every look was as expected.

set -eu
package=$1
id=$(basename "$package" .tar.zst)
id=${id#ksplice-}

# look WHEN EXPECTED: run the sample's `see` and compare what it prints
look() {
	seen=$(see)
	echo "$1: $seen"
	[ "$seen" = "$2" ] || { echo "expected: $2" >&2; exit 1; }
}

# prove WITHOUT WITH: what `see` must print without and with the update
prove() {
	look before "$1"
	for round in 1 2; do
		ksplice apply "$package"
		look applied "$2"
		ksplice view "$id"
		ksplice undo "$id"
		look undone "$1"
	done
}
