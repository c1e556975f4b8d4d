#!/usr/bin/env bash
# The first process of a lab host, in namespaces of its own (see lab.py): gives it a private copy of this machine's files
# over an overlay, then serves SSH. A host's disk is its memory: it is gone when the host is powered off.
#   boot_host.sh NAME SHARED DISK PYTHON_FOLDER
set -euo pipefail
name=$1 shared=$2 disk=$3 python=$4
hostname "$name"
mount --make-rprivate /
mount -t tmpfs -o size=4g tmpfs "$disk"
root=$disk/root
mkdir -p "$disk/changes" "$disk/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/changes,workdir=$disk/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o size=1g tmpfs "$root/dev/shm"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/sshd"

# Nothing of this machine's own Ray, keys and credentials.
home=root
rm -rf "$root/$home"/{.ray,.ssh,.aws,.bashrc,.bash_profile,.profile}
mkdir -p "$root/tmp/ray"
mount -t tmpfs tmpfs "$root/tmp/ray"
mkdir -m 700 "$root/$home/.ssh"
cp "$shared/key.pub" "$root/$home/.ssh/authorized_keys"
printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
cat "$shared/hosts" >> "$root/etc/hosts"
# Python, with Ray and dwray in it, is already there.
printf 'export PATH=%s:$PATH\n' "$python" > "$root/$home/.bashrc"
cat > "$root/run/sshd_config" <<CONFIG
HostKey $shared/host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
MaxStartups 50
MaxSessions 50
CONFIG
cat > "$root/run/init" <<'INIT'
#!/usr/bin/env bash
# As a host's init must, it waits for the orphans.
/usr/sbin/sshd -D -e -f /run/sshd_config &
while :; do wait -n || sleep 0.5; done
INIT
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" bash /run/init
