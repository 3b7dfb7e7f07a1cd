#!/usr/bin/env bash
# Merges the cells' results into one verdict: job summary, pull-request comment, JUnit.
#
# Reads:  PLAN (file), GATE (on or strict), CELLS (folder of the cells' results), ARCHIVES (folder of servegate)
# Writes: REPORT (folder): summary.md, comment.md, junit.xml; the job summary
set -euo pipefail
servegate="$("$(dirname "${BASH_SOURCE[0]}")/unpack.sh")"
mkdir -p "$REPORT" "$CELLS"
strict=()
[[ "${GATE:-on}" != strict ]] || strict=(--strict)
code=0
"$servegate" compare --from "$CELLS" --plan "$PLAN" --summary "$REPORT/summary.md" \
  --comment "$REPORT/comment.md" --junit "$REPORT/junit.xml" "${strict[@]}" || code=$?
if [[ -n "${GITHUB_STEP_SUMMARY:-}" && -f "$REPORT/summary.md" ]]; then
  cat "$REPORT/summary.md" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$code"
