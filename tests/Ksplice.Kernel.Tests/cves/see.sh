# SPDX-License-Identifier: MIT
# What the eight fixes change, a line each. /dev/kmsg is written by one opener, the mode of limits is that of a new process.
echo "2005-2709 $(exec 3>/dev/kmsg; for i in 1 2 3 4 5; do echo "line $i" >&3 && echo line; done 2>/dev/null | grep -c line)"
echo "2005-3179 $(stat -c %a /sys/module/printk/parameters/always_kmsg_dump)"
echo "2006-1056 $(grep -c clflush_monitor /proc/cpuinfo)"
echo "2006-2071 $(/exec_only 2>/dev/null && echo executed || echo killed)"
echo "2007-3851 $(sleep 100 & stat -c %a /proc/$!/limits; kill $!)"
echo "2007-4571 $(dd if=/proc/kmsg of=/dev/null bs=2M count=1 2>/dev/null && echo read || echo refused)"
echo "2008-0007 $(cat /proc/sys/vm/max_map_count)"
