# Shared by the scripts of the action; read, not run.
# shellcheck shell=bash

# Text in the data of a workflow command: it cannot end its line.
escaped() {
  local text="${1//'%'/%25}"
  text="${text//$'\r'/%0D}"
  printf '%s' "${text//$'\n'/%0A}"
}

# Says why and ends the step with a code of servegate's contract.
fail() {
  printf '::error title=servegate::%s\n' "$(escaped "$2")"
  exit "$1"
}

# NAME=VALUE for later steps. A value of two lines would be a second output: it is refused.
output() {
  case "$2" in
    *$'\n'* | *$'\r'*) fail 70 "the output $1 has more than one line" ;;
  esac
  printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

# Whether the first argument is one of the others.
one_of() {
  local wanted="$1" known
  shift
  for known; do
    [[ "$wanted" == "$known" ]] && return 0
  done
  return 1
}

# From here on nothing that a server writes, or a model is called, is a command to the runner. Only
# this step's commands are stopped; nobody knows the word that would start them again.
stop_commands() {
  echo "::stop-commands::servegate-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
}
