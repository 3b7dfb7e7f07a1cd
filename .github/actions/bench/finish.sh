#!/usr/bin/env bash
# Ends what a killed servegate left running, then tells what happened: job summary, annotations,
# JUnit and outputs. Runs after success, failure and cancellation alike.
#
# Reads:  SG_MODE SG_BINARY SG_RESULTS SG_OUTCOME (how the step that measured ended)
# Writes: outputs `verdict`, `session`, `exit-code`, `report`, `junit`; the job summary
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Servegate needs some 30 s to end a server that will not go.
readonly CLEANUP_SECONDS=120
# A report is a fold over one file.
readonly REPORT_SECONDS=60

# A step that failed before there was a session still leaves a report: an empty one reads as green.
write_absent() {
  local why="$1"
  mkdir -p "$SG_RESULTS"
  cat >"$SG_RESULTS/junit.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="servegate" tests="1" failures="0" errors="1" skipped="0">
  <testsuite name="servegate" tests="1" failures="0" errors="1" skipped="0" time="0">
    <testcase name="session" classname="setup.servegate" time="0">
      <error message="$why" type="BenchmarkError">$why</error>
    </testcase>
  </testsuite>
</testsuites>
XML
  printf '## 💥 servegate: broken\n\n%s\n' "$why" >"$SG_RESULTS/summary.md"
  cat "$SG_RESULTS/summary.md" >>"$GITHUB_STEP_SUMMARY"
  output exit-code ""
  output session ""
  output junit "$SG_RESULTS/junit.xml"
  output report "$SG_RESULTS/summary.md"
}

# The newest session; names are times, so the last in order is the newest.
newest() {
  [[ -d "$SG_RESULTS/runs" ]] || return 0
  find "$SG_RESULTS/runs" -mindepth 2 -maxdepth 2 -name journal.jsonl -size +0 2>/dev/null |
    sort | tail -n 1 | xargs -r dirname
}

# 64 says that no session is unfinished, which is how it should be.
clean() {
  local code=0
  timeout --kill-after=5 "$CLEANUP_SECONDS" \
    "$SG_BINARY" resume --clean-only --lease-wait=30s "--results=$SG_RESULTS" >/dev/null 2>&1 || code=$?
  case "$code" in
    0 | 64) return 0 ;;
    *) printf '::error title=servegate::something may still be running on %s; resume ended with %s\n' \
         "$(escaped "${RUNNER_NAME:-this runner}")" "$code" ;;
  esac
  return 75
}

report() {
  timeout --kill-after=5 "$REPORT_SECONDS" \
    "$SG_BINARY" report "$(basename "$session")" "--results=$SG_RESULTS" "--format=$1"
}

if [[ -z "$SG_BINARY" ]]; then
  write_absent "servegate could not be installed; the log of the step Install says why"
  output verdict broken
  exit 0
fi

session="$(newest)"
if [[ -z "$session" ]]; then
  case "$SG_MODE,$SG_OUTCOME" in
    health,*) output verdict none ;;
    *,cancelled)
      write_absent "the job was cancelled before a session was opened"
      output verdict cancelled
      ;;
    *)
      why="no session was opened; the log of the step before says why"
      write_absent "$why"
      output verdict broken
      printf '::error title=servegate::%s\n' "$why"
      ;;
  esac
  exit 0
fi

left=0
clean || left=$?
# Only a session that was killed has none; all of it stands in the journal.
if [[ ! -s "$session/junit.xml" ]]; then
  report junit >"$session/junit.xml"
fi
if [[ ! -s "$session/summary.md" ]]; then
  report markdown >"$session/summary.md"
fi
report markdown >>"$GITHUB_STEP_SUMMARY"
report annotations
report outputs >>"$GITHUB_OUTPUT"
output junit "$session/junit.xml"
output report "$session/summary.md"
exit "$left"
