#!/bin/sh
# SPDX-License-Identifier: MIT
# Without the update the kernel's data page ([vvar]) stands in the map of every process; with it, a process sees it
# in its own map only. The other mappings stay.
. "$(dirname "$0")/../proof.sh"

count() { grep -c '\[vvar\]' "$1" || true; }
see() {
	others=$(grep -vc '\[vvar\]' /proc/1/maps)
	grep -q '\[vdso\]' /proc/1/maps && [ "$others" -gt 3 ] || { echo "the map of init is cut: $others lines"; return; }
	echo "own map: $(count /proc/self/maps), init's map: $(count /proc/1/maps)"
}

prove "own map: 1, init's map: 1" "own map: 1, init's map: 0"
