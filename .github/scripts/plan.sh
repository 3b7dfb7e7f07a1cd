#!/usr/bin/env bash
# Turns a plan file into matrices: the first cell alone, as a canary, and the others in batches of
# at most 256, which is what a matrix holds.
#
# Reads:  PLAN (file), ARCHIVES (folder of the built servegate)
# Writes: outputs `canary` and `batches`, JSON
set -euo pipefail
readonly MOST_JOBS=256
# Outputs of a job beyond 1 MiB are dropped.
readonly MOST_BYTES=1000000
servegate="$("$(dirname "${BASH_SOURCE[0]}")/unpack.sh")"
# One matrix, or several of them where there are more cells than that.
cells="$("$servegate" matrix --plan "$PLAN" | jq --compact-output '.include // [.batches[].include[]]')"
canary="$(jq --compact-output '{include: [.[0]]}' <<<"$cells")"
batches="$(jq --compact-output --argjson most "$MOST_JOBS" \
  '.[1:] as $rest
   | [range(0; $rest | length; $most) as $from | {include: $rest[$from:$from + $most]}]' <<<"$cells")"
if ((MOST_BYTES < ${#canary} + ${#batches})); then
  echo "::error title=servegate::the plan has more cells than the outputs of a job hold: split it"
  exit 64
fi
{
  echo "canary=$canary"
  echo "batches=$batches"
} >>"${GITHUB_OUTPUT:-/dev/stdout}"
