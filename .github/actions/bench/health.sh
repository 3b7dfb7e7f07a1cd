#!/usr/bin/env bash
# Says whether the machine is fit to measure on; ends with 4 if it is not.
#
# Reads: SG_BINARY SG_RESULTS SG_DEVICE
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# Processes on a GPU may have any name.
stop_commands
mkdir -p "$SG_RESULTS"
exec "$SG_BINARY" health "--results=$SG_RESULTS" "--device=$SG_DEVICE"
