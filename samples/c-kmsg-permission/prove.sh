#!/bin/sh
# SPDX-License-Identifier: MIT
# A descriptor of /dev/kmsg, opened by root and handed to a process without capabilities: it reads without the update
# and is refused with it. The live setting kernel.dmesg_restrict is 1 while the update is applied, and what it was after.
. "$(dirname "$0")/../proof.sh"

echo "nobody:x:65534:65534:nobody:/:/bin/sh" >/etc/passwd
echo 0 >/proc/sys/kernel/dmesg_restrict

see() {
	if su nobody -s /bin/sh -c 'dd bs=8192 count=1 <&3 >/dev/null 2>&1' 3</dev/kmsg; then
		reads=reads
	else
		reads="may not read"
	fi
	echo "nobody $reads, dmesg_restrict $(cat /proc/sys/kernel/dmesg_restrict)"
}

prove "nobody reads, dmesg_restrict 0" "nobody may not read, dmesg_restrict 1"
