#!/usr/bin/env bash
# Adds the sessions that the gate let pass to the stored baselines, and opens a pull request with
# them. Those that it did not are named in it and left out.
#
# Reads: CELLS (folder of the cells' results), ARCHIVES (folder of servegate); `gh` with GH_TOKEN
set -euo pipefail
servegate="$("$(dirname "${BASH_SOURCE[0]}")/unpack.sh")"
baselines=results/baselines
mkdir -p "$baselines"
told="$(mktemp)"
# A single artifact may have been unpacked without a folder of its own.
for journal in "$CELLS"/*/runs/*/journal.jsonl "$CELLS"/runs/*/journal.jsonl; do
  [[ -f "$journal" ]] || continue
  session="$(basename "$(dirname "$journal")")"
  results="$(cd "$(dirname "$journal")/../.." && pwd)"
  mkdir -p "$results/baselines"
  cp -R "$baselines/." "$results/baselines/"
  if "$servegate" baseline accept "$session" "--results=$results"; then
    cp -R "$results/baselines/." "$baselines/"
    echo "- accepted: session $session" >>"$told"
  else
    echo "- left out: session $session" >>"$told"
  fi
done
if [[ -z "$(git status --porcelain -- "$baselines")" ]]; then
  echo "no session gives a new baseline"
  exit 0
fi
branch="servegate/baselines-${GITHUB_RUN_ID:?}"
git checkout --quiet -b "$branch"
git add -- "$baselines"
git -c user.name='github-actions[bot]' \
  -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message "Add last night's sessions to the baselines"
# The token is handed to this one command, and stays in no file.
git -c credential.helper='!gh auth git-credential' push --quiet origin "$branch"
gh pr create --head "$branch" --title "Baselines of last night" --body-file "$told"
