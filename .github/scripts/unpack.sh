#!/usr/bin/env bash
# Unpacks the servegate that was built for this machine, beside its archive, once its digest is
# what SHA256SUMS says. Prints where it is.
#
# Reads: ARCHIVES, the folder of the archives
set -euo pipefail
cd "$ARCHIVES"
archive="servegate-$(uname -m)-unknown-linux-gnu.tar.gz"
grep -E "^[0-9a-f]{64} [ *]$archive\$" SHA256SUMS | sha256sum --check --strict --quiet -
tar -xzf "$archive" servegate
echo "$PWD/servegate"
