#!/usr/bin/env bash
# Holds that `cargo leptos build --release --precompress` makes the site that scripts/release.sh makes:
# the same files with the same bytes, but for how gzip packs.
#
#   scripts/same-site.sh TARGET_FOLDER SITE_FOLDER
set -euo pipefail

TARGET=$1 SITE=$2
OTHER=$(mktemp -d)
trap 'rm -rf "$OTHER"' EXIT

scripts/release.sh "$TARGET" "$SITE"
rm -f "$SITE/.release-build" # that it is built is told anew by whoever builds
CARGO_TARGET_DIR=$TARGET LEPTOS_SITE_ROOT=$OTHER cargo leptos build --release --precompress --frontend-only --js-minify=false

list() { (cd "$1" && find . -type f | sort); }
if ! diff <(list "$SITE") <(list "$OTHER"); then
    echo "same-site: one of the two has files that the other has not" >&2
    exit 1
fi
while read -r file; do
    case $file in
    *.gz) cmp <(gzip -dc "$SITE/$file") <(gzip -dc "$OTHER/$file") ;;
    *) cmp "$SITE/$file" "$OTHER/$file" ;;
    esac
done < <(list "$SITE")
echo "same-site: $(list "$SITE" | wc -l) files, all the same"
