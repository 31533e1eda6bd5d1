#!/bin/sh
# SPDX-License-Identifier: MIT
# With the update only the administrator sees which file stands behind a loop device. Module loop, whose code changes, is loaded
# first; while the update's modules are loaded it cannot go.
. "$(dirname "$0")/../proof.sh"

[ -f /etc/passwd ] || echo 'nobody:x:65534:65534:nobody:/:/bin/sh' >/etc/passwd
modprobe loop
dd if=/dev/zero of=/tmp/secret bs=1024 count=64 2>/dev/null
losetup /dev/loop0 /tmp/secret
path=/sys/block/loop0/loop/backing_file
see() { echo "root: $(cat $path), nobody: $(su -s /bin/sh nobody -c "cat $path" 2>/dev/null || echo refused)"; }

prove "root: /tmp/secret, nobody: /tmp/secret" "root: /tmp/secret, nobody: refused"
losetup -d /dev/loop0
