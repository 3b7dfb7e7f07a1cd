#!/usr/bin/env bash
# Becomes servegate, so that a cancelled job's signals reach it: the runner sends SIGINT to the
# process of the step alone, SIGTERM 7.5 s later, and SIGKILL 2.5 s after that.
#
# Reads: SG_BINARY SG_ARGUMENTS
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
mapfile -d '' -t arguments <"$SG_ARGUMENTS"

stop_commands

# What every child needs and servegate does not set itself for a program that it did not start:
# a process that renames itself must keep its environment, by which the runner finds leftovers.
export SPT_NOENV=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}"
export CUDA_DEVICE_ORDER=PCI_BUS_ID DO_NOT_TRACK=1 VLLM_NO_USAGE_STATS=1 TOKENIZERS_PARALLELISM=false
exec "$SG_BINARY" "${arguments[@]}"
