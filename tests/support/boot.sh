#!/bin/bash
# Boots a root filesystem: systemd as the first process of namespaces of its own, with a network
# that has nothing but a loopback, and nothing that it writes is kept. Stays in the foreground; ends
# when its init is killed.
#
#   boot.sh ROOT SOURCE CGROUP
#
# ROOT is only read, below a layer in memory. SOURCE appears, read-only, as /usr/src/imaged.
# CGROUP is an empty control group for all processes of the machine.
set -euo pipefail
export ROOT=$1 SOURCE=$2
echo $$ > "$3/cgroup.procs"

enter() {
    ip link set lo up
    hostname machine

    local stage=/mnt new=/mnt/root
    mount -t tmpfs -o mode=755 tmpfs $stage
    mkdir $stage/{changes,work,root}
    mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$stage/changes,workdir=$stage/work" $new
    mkdir -p $new/usr/src/imaged
    mount --bind "$SOURCE" $new/usr/src/imaged
    mount -o remount,bind,ro $new/usr/src/imaged

    mount -t proc proc $new/proc
    mount -t sysfs -o ro sysfs $new/sys
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 $new/sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs $new/run
    mount -t tmpfs -o mode=1777 tmpfs $new/tmp
    mount -t tmpfs -o mode=755 tmpfs $new/dev
    mkdir $new/dev/{pts,shm}
    local device
    for device in null zero full random urandom tty; do
        touch $new/dev/$device
        mount --bind /dev/$device $new/dev/$device
    done
    ln -s /proc/self/fd $new/dev/fd
    ln -s fd/0 $new/dev/stdin
    ln -s fd/1 $new/dev/stdout
    ln -s fd/2 $new/dev/stderr
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $new/dev/pts
    ln -s pts/ptmx $new/dev/ptmx
    mount -t tmpfs -o mode=1777 tmpfs $new/dev/shm

    cd $new
    mkdir .old
    pivot_root . .old
    umount -l /.old
    rmdir /.old
    mount --make-rshared /
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --log-target=journal </dev/null
}
export -f enter

exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --net --propagation private \
    bash -euo pipefail -c enter
