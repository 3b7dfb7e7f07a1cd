#!/usr/bin/env bash
# Lets a commit on to the GPU runners only if it is the head of its open pull request at this
# moment: an approval is of one commit, and a push after it takes it back.
#
# Reads:  NUMBER, SHA, GITHUB_REPOSITORY; `gh` with GH_TOKEN
# Writes: output `sha`
set -euo pipefail
refuse() {
  echo "::error title=servegate::$1"
  exit 1
}
[[ "$NUMBER" =~ ^[0-9]{1,10}$ ]] || refuse "the number of the pull request is not a number"
[[ "$SHA" =~ ^[0-9a-f]{40}$ ]] || refuse "the approved commit must be given with all 40 digits"
now="$(gh api "repos/$GITHUB_REPOSITORY/pulls/$NUMBER" --jq '.state + " " + .head.sha')"
[[ "$now" == "open $SHA" ]] ||
  refuse "pull request $NUMBER is not open at the approved commit $SHA any more"
echo "sha=$SHA" >>"$GITHUB_OUTPUT"
