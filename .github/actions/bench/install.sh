#!/usr/bin/env bash
# Finds, downloads or builds the servegate of this action's own version, and puts it on the PATH.
#
#   1. SG_BINARY, if given, is taken as it is.
#   2. In a checkout (`uses: ./…`) it is built from the source beside the action.
#   3. One on the PATH of this version is used, unless a digest is asked for: whoever set the
#      runner up has installed it.
#   4. The release's archive is downloaded, or taken from the tool cache, and must have the digest
#      SG_SHA256, else the one in the release's SHA256SUMS.
#   5. Where there is no release, it is built, if there is a Rust toolchain.
#
# Reads:  SG_BINARY SG_SHA256
# Writes: output `binary`, and the PATH of later steps
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

action="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source_root="$(cd "$action/../../.." && pwd)"
version="$(sed -n '/^version = "\(.*\)"$/{s//\1/p;q;}' "$source_root/Cargo.toml")"
cache="${RUNNER_TOOL_CACHE:-$RUNNER_TEMP}/servegate/$version"

use() {
  local found
  found="$("$1" --version 2>/dev/null)" || fail 4 "\`$1\` is no servegate that runs on this machine"
  echo "$found: $1"
  output binary "$1"
  dirname "$1" >>"$GITHUB_PATH"
  exit 0
}

build() {
  command -v cargo >/dev/null ||
    fail 4 "no release of servegate $version can be had and there is no Rust toolchain to build it with; give the input \`binary\`"
  echo "building servegate $version from $source_root"
  # Outside of the workspace, so that the next job starts where this one ended.
  CARGO_TARGET_DIR="$cache/build" cargo build --locked --profile tool --package bench \
    --bin servegate --manifest-path "$source_root/Cargo.toml"
  use "$cache/build/tool/servegate"
}

# Bounded, and tried again: the release host is not always there.
fetch() {
  curl --fail --silent --show-error --location --retry 3 --connect-timeout 10 --max-time 300 \
    --output "$2" "$1"
}

digest_of() { sha256sum "$1" | cut -d ' ' -f 1; }

if [[ -n "$SG_BINARY" ]]; then
  [[ -x "$SG_BINARY" ]] || fail 64 "there is no program \`$SG_BINARY\`"
  use "$(cd "$(dirname "$SG_BINARY")" && pwd)/$(basename "$SG_BINARY")"
fi

# The runner keeps actions of other repositories in `_actions/OWNER/NAME/REF`.
[[ "$action" =~ /_actions/([^/]+/[^/]+)/ ]] || build
repository="${BASH_REMATCH[1]}"

on_path="$(command -v servegate || true)"
if [[ -z "$SG_SHA256" && -n "$on_path" && "$("$on_path" --version)" == "servegate $version" ]]; then
  use "$on_path"
fi

case "${RUNNER_ARCH:-X64}" in
  X64) target=x86_64-unknown-linux-gnu ;;
  ARM64) target=aarch64-unknown-linux-gnu ;;
  *) fail 4 "there is no servegate for ${RUNNER_ARCH}" ;;
esac
archive="servegate-$target.tar.gz"
release="${GITHUB_SERVER_URL:-https://github.com}/$repository/releases/download/v$version"
mkdir -p "$cache"
if [[ -n "$SG_SHA256" ]]; then
  wanted="${SG_SHA256,,}"
elif fetch "$release/SHA256SUMS" "$cache/SHA256SUMS"; then
  wanted="$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$archive\$/\1/p" "$cache/SHA256SUMS")"
else
  build
fi
[[ "$wanted" =~ ^[0-9a-f]{64}$ ]] || fail 4 "no SHA-256 digest is known for \`$archive\`"

if [[ ! -f "$cache/$archive" || "$(digest_of "$cache/$archive")" != "$wanted" ]]; then
  partial="$(mktemp "$cache/.partial-XXXXXX")"
  trap 'rm -f "$partial"' EXIT
  fetch "$release/$archive" "$partial" || fail 4 "cannot download \`$release/$archive\`"
  found="$(digest_of "$partial")"
  [[ "$found" == "$wanted" ]] ||
    fail 4 "\`$archive\` has the digest $found and not $wanted: it is not used"
  mv "$partial" "$cache/$archive"
fi
# Unpacked anew each time: what lies unpacked on a shared runner may have been changed.
place="$(mktemp -d "$RUNNER_TEMP/servegate-XXXXXX")"
tar -xzf "$cache/$archive" -C "$place" servegate
use "$place/servegate"
