#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh OUT: makes OUT/vmlinuz and OUT/initrd, the laboratory's real guest,
# from Debian's cloud kernel, busybox-static and guest-echo. The same inputs
# give the same octets. OUT/stamp tells what it was made of; when that is
# still so, nothing is done.
set -eu

out=${1:?usage: build.sh OUT}
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "build.sh: $*" >&2; exit 1; }

kernel=$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null | sort -V | tail -n 1)
[ -n "$kernel" ] || fail "no /boot/vmlinuz-*-cloud-amd64; apt-get install linux-image-cloud-amd64"
release=${kernel#/boot/vmlinuz-}
modules=/lib/modules/$release
[ -f "$modules/modules.dep" ] || fail "no $modules/modules.dep; apt-get install --reinstall linux-image-$release"
busybox=$(command -v busybox) || fail "no busybox; apt-get install busybox-static"
case $(ldd "$busybox" 2>&1) in *"not a dynamic"*) ;; *) fail "$busybox is not static; apt-get install busybox-static" ;; esac
command -v cpio >/dev/null || fail "no cpio; apt-get install cpio"

stamp=$(cat "$kernel" "$busybox" "$here/build.sh" "$here/init" "$here/guest-echo.c" "$here/echo.c" "$here/echo.h" "$here/work.c" | sha256sum | cut -c1-64)
mkdir -p "$out"
exec 9>"$out/lock"
flock 9
if [ -f "$out/stamp" ] && [ "$(cat "$out/stamp")" = "$stamp" ]; then
        exit 0
fi

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root
mkdir -p "$root/bin" "$root/lib" "$root/dev"
cp "$busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$here/init" "$root/init"
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -Wall -static -s -o "$root/bin/guest-echo" "$here/guest-echo.c" "$here/echo.c"
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -Wall -static -s -o "$root/bin/guest-work" "$here/work.c"

# Not every kernel has all of them. Dependencies first, each module once, under its own name: modules.dep lists them nearest first.
: >"$root/lib/order"
for module in virtio_pci virtio_net virtio_blk button evdev vmxnet3 e1000; do
        line=$(grep "/$module\.ko[.xz]*:" "$modules/modules.dep" || true)
        for path in $(echo "$line" | tr -d : | tr ' ' '\n' | tac); do
                name=$(basename "$path")
                case $name in *.xz) name=${name%.xz} ;; esac
                [ ! -f "$root/lib/$name" ] || continue
                case $path in
                *.xz) xz -dc "$modules/$path" >"$root/lib/$name" ;;
                *) cp "$modules/$path" "$root/lib/$name" ;;
                esac
                echo "$name" >>"$root/lib/order"
        done
done
chmod 755 "$root/init" "$root/bin/busybox"
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) | gzip -n -1 >"$work/initrd"

cp "$kernel" "$work/vmlinuz"
chmod 644 "$work/vmlinuz" "$work/initrd"    # for emulators with a user of their own
mv "$work/vmlinuz" "$out/vmlinuz"
mv "$work/initrd" "$out/initrd"
echo "$stamp" >"$out/stamp"
