#!/usr/bin/env bash
# Hook for the end of a job, also of a cancelled one: nothing of it stays on the GPU.
# Set it in the runner's `.env`:
# ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/opt/servegate/runner/job-completed.sh
#
# Reads: SERVEGATE (the program; default, on the PATH)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
clean_up 2>&1
