#!/usr/bin/env bash
# Checks a report that a less trusted job wrote, and makes it the one comment of servegate on the
# pull request.
#
# The pull request is told by the title of the run, which only the workflow file decides, and must
# still be open at the commit that was measured. The text must be ours by its form, and must not be
# able to call people, close issues, load pictures or lead to other places.
#
# Reads: REPORT (file), TITLE, EVENT, HEAD_REPOSITORY and HEAD_SHA of the run, GITHUB_REPOSITORY,
#        GITHUB_SERVER_URL; `gh` with GH_TOKEN
set -euo pipefail
export LC_ALL=C.UTF-8

# The first line, by which the comment is found again; the suite's name stands in it.
readonly MARKER='^<!-- servegate:[A-Za-z0-9._-]+ -->$'
# GitHub takes 65,536 characters; a byte is at most one.
readonly MOST_BYTES=65536

refuse() {
  echo "::error title=servegate::the report is not posted: $1"
  exit 1
}

check() {
  local file="$1" url="${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY/"
  [[ -f "$file" && ! -L "$file" ]] || refuse "there is none"
  (($(stat --format=%s "$file") < MOST_BYTES)) || refuse "it is too long"
  iconv --from-code=UTF-8 --to-code=UTF-8 "$file" >/dev/null 2>&1 || refuse "it is not UTF-8"
  marker="$(sed -n 1p "$file")"
  [[ "$marker" =~ $MARKER ]] || refuse "its first line is not ours"
  ! LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$file" || refuse "it has control characters"
  local rest
  rest="$(sed -e 1d -e 's#</\{0,1\}\(details\|summary\|br\|sub\|b\)>##g' "$file")"
  # Where a word may break ours has a tag, which also parts what would be a link or a name.
  ! grep -qE '<[a-zA-Z/!?]' <<<"${rest//<wbr>/}" || refuse "it has HTML that ours never has"
  ! grep -qP '(^|[^[:alnum:]_`])@[[:alnum:]]' <<<"$rest" || refuse "it mentions somebody"
  ! grep -qP '!\[' <<<"$rest" || refuse "it has a picture"
  ! grep -qiP '\b(close[sd]?|fix(e[sd])?|resolve[sd]?):?\s+(\S*#\d|https?://)' <<<"$rest" ||
    refuse "it would close an issue"
  ! grep -oiE '(\]\(|[a-z][a-z0-9+.-]*://|www\.)[^ )>]*' <<<"$rest" | sed 's/^\](//' |
    awk -v url="$url" 'index($0, url) != 1 { elsewhere = 1 } END { exit !elsewhere }' ||
    refuse "it has an address elsewhere"
}

[[ "$TITLE" =~ ^bench\ pull\ request\ ([0-9]{1,10})\ at\ ([0-9a-f]{40})$ ]] ||
  refuse "the title of the run names no pull request"
number="${BASH_REMATCH[1]}"
sha="${BASH_REMATCH[2]}"
# A fork's pull request brings a workflow file of its own: its run may bear any title.
[[ "$HEAD_REPOSITORY" == "$GITHUB_REPOSITORY" ]] || refuse "the run is of another repository"
[[ "$EVENT" == workflow_dispatch || "$EVENT,$HEAD_SHA" == "pull_request,$sha" ]] ||
  refuse "the run is not of the commit in its title"
check "$REPORT"
now="$(gh api "repos/$GITHUB_REPOSITORY/pulls/$number" --jq '.state + " " + .head.sha')"
if [[ "$now" != "open $sha" ]]; then
  echo "pull request $number is not at $sha any more: a later run will report"
  exit 0
fi
known="$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$number/comments" --jq \
  ".[] | select(.user.login == \"github-actions[bot]\" and (.body | startswith(\"$marker\"))) | .id" |
  sed -n 1p)"
if [[ -n "$known" ]]; then
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$known" --field "body=@$REPORT"
else
  gh api --silent --method POST "repos/$GITHUB_REPOSITORY/issues/$number/comments" --field "body=@$REPORT"
fi
