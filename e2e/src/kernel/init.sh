# Process 1 of the kernel lab. The lines above set: scratch, program (a quoted command), shell (yes or no), and the
# environment. The root is the host's, read only; what is written goes to $scratch.
export PATH=$scratch/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=$scratch/ram TMPDIR=$scratch/ram HAWSER_LAB_DIR=$scratch/ram/labs
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=262144 scratch "$scratch" || echo "no scratch folder"
mount -t tmpfs -o size=80% ram "$scratch/ram"
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
# The lab's modules are not where modprobe looks.
echo "$scratch/bin/modprobe" >/proc/sys/kernel/modprobe
modprobe tun
ip link set lo up
cd "$scratch/ram"
if [ "$shell" = yes ]; then
    echo "Linux $(uname -r) in the kernel lab; $scratch is shared with the host. Ctrl-D ends it."
    setsid -c "$program" </dev/ttyS0 >/dev/ttyS0 2>&1
else
    eval "$program" </dev/null >"$scratch/log" 2>&1
    echo $? >"$scratch/status"
fi
busybox poweroff -f
