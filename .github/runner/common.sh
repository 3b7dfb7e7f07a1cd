# Shared by the hooks; read, not run.
# shellcheck shell=bash

# The hooks have no time limit of their own: one that hangs would hold the GPU for ever.
readonly CLEAN_SECONDS=60
readonly HEALTH_SECONDS=60

# Ends what sessions of earlier jobs left running on this runner. Each says itself what it had
# started, so that nothing of anybody else's is touched.
clean_up() {
  local runs results code work="${RUNNER_WORKSPACE:-${GITHUB_WORKSPACE%/*}}"
  work="${work%/*}"
  # Results of the action lie in `_work/REPOSITORY/_servegate`; others in a checkout's `results`.
  while IFS= read -r runs; do
    results="$(dirname "$runs")"
    code=0
    timeout --kill-after=5 "$CLEAN_SECONDS" "${SERVEGATE:-servegate}" resume --clean-only \
      --lease-wait=1s "--results=$results" || code=$?
    # 64: no session there is unfinished.
    if ((code != 0 && code != 64)); then
      echo "::error title=servegate::something of $results may still be running (exit code $code)"
      return 1
    fi
  done < <(find "$work" -maxdepth 6 -type d -name runs \
    \( -path '*/_servegate/*/results/runs' -o -path '*/results/runs' \) 2>/dev/null)
}
