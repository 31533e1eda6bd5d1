#!/bin/sh
# SPDX-License-Identifier: MIT
# With the update every mapping in smaps has a line that tells its pages, and it agrees with the mapping's size.
. "$(dirname "$0")/../proof.sh"

see() {
	awk '/^Size:/ { kib = $2 } /^Pages:/ { lines++; if ($2 * 4 != kib) wrong++ }
		END { print lines ? "pages shown" : "no pages shown", wrong + 0, "wrong" }' /proc/self/smaps
}

prove "no pages shown 0 wrong" "pages shown 0 wrong"
