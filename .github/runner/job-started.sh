#!/usr/bin/env bash
# Hook for the start of a job: the GPU must be clean and fit, or the job fails before it has begun.
# Set it in the runner's `.env`: ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/servegate/runner/job-started.sh
#
# Reads: SERVEGATE (the program; default, on the PATH), CUDA_VISIBLE_DEVICES (this runner's GPU)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

clean_up 2>&1
if ! timeout --kill-after=5 "$HEALTH_SECONDS" "${SERVEGATE:-servegate}" health; then
  echo "::error title=servegate::this runner is not fit to measure on; its log says why"
  exit 1
fi
