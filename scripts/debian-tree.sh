# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts that make Debian images: fail, debian_tree, ext4_image.

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# debian_tree FOLDER LOG PACKAGES [MMDEBSTRAP-OPTION...]: a bookworm with the packages (a,b,c), from the host's own
# mirrors if it is a Debian that names them. Without documentation.
debian_tree() {
    local tree=$1 log=$2 packages=$3 mirrors
    shift 3
    mapfile -t mirrors < <(grep -lsE 'debian(-security)?/? ' /etc/apt/sources.list; grep -lsE '^URIs:.*debian' /etc/apt/sources.list.d/*.sources)
    mmdebstrap --quiet --include="$packages" --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' "$@" \
        bookworm "$tree" "${mirrors[@]}" >"$log" 2>&1 </dev/null ||
        fail "mmdebstrap failed: $(grep -m 1 -E '^E:' "$log" || tail -n 1 "$log")"
}

# ext4_image FILE SIZE FOLDER: a disk without partitions that holds what is in the folder.
ext4_image() {
    truncate -s "$2" "$1"
    mke2fs -q -t ext4 -L root -d "$3" "$1" || fail "mke2fs failed: see above"
}
