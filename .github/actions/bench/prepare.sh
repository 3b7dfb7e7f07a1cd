#!/usr/bin/env bash
# Checks the inputs, makes a results tree of this job's own, and writes servegate's arguments.
#
# Reads:  SG_MODE SG_FRAMEWORK SG_MODEL SG_PROFILE SG_RUNS SG_GATE SG_ARGS SG_DEVICE SG_BASELINES
# Writes: outputs `results` (folder), `arguments` (file, each ends with a zero byte), `device`
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Results of jobs whose artifact is long uploaded leave the runner's disk after this many days.
readonly KEPT_DAYS=7

one_of "$SG_MODE" bench ab health install ||
  fail 64 "mode is \`$SG_MODE\`, not one of bench, ab, health, install"
one_of "$SG_GATE" on off strict || fail 64 "gate is \`$SG_GATE\`, not one of on, off, strict"
one_of "$SG_DEVICE" auto cpu gpu || fail 64 "device is \`$SG_DEVICE\`, not one of auto, cpu, gpu"
[[ "$SG_RUNS" =~ ^([1-9][0-9]?|100)?$ ]] ||
  fail 64 "runs is \`$SG_RUNS\`, not a whole number from 1 to 100"

mapfile -t profiles < <(printf '%s\n' "$SG_PROFILE" | sed '/^[[:space:]]*$/d')
[[ "$SG_MODE" != ab || ${#profiles[@]} -le 1 ]] || fail 64 "mode ab measures one profile at a time"
mapfile -t further < <(printf '%s\n' "$SG_ARGS" | sed '/^[[:space:]]*$/d')

# Beside the workspace, not in it and not in RUNNER_TEMP: a checkout or the end of the job would
# remove the journal by which the next job's hook can end what a crash of the runner left behind.
base="${RUNNER_WORKSPACE:-$RUNNER_TEMP}/_servegate"
mkdir -p "$base"
find "$base" -mindepth 1 -maxdepth 1 -type d -mtime "+$KEPT_DAYS" -exec rm -rf {} +
folder="$(mktemp -d "$base/${GITHUB_RUN_ID:-0}-${GITHUB_RUN_ATTEMPT:-1}-XXXXXX")"
results="$folder/results"
mkdir -p "$results/baselines"
case "$SG_BASELINES" in
  /*) baselines="$SG_BASELINES" ;;
  *) baselines="$GITHUB_WORKSPACE/$SG_BASELINES" ;;
esac
if [[ -d "$baselines" ]]; then
  cp -R -- "$baselines/." "$results/baselines/"
fi

# `--flag=value`, so that a value can never be taken for a flag. What is empty is left to `args`.
arguments=("$SG_MODE" "--results=$results")
[[ -z "$SG_FRAMEWORK" ]] || arguments+=("--framework=$SG_FRAMEWORK")
[[ -z "$SG_MODEL" ]] || arguments+=("--model=$SG_MODEL")
[[ "$SG_DEVICE" == auto ]] || arguments+=("--device=$SG_DEVICE")
for profile in "${profiles[@]}"; do
  arguments+=("--profile=$profile")
done
if [[ "$SG_MODE" == bench ]]; then
  [[ -z "$SG_RUNS" ]] || arguments+=("--runs=$SG_RUNS")
  [[ "$SG_GATE" == off ]] || arguments+=(--gate)
fi
[[ "$SG_GATE" != strict ]] || arguments+=(--strict)
arguments+=("${further[@]}")
printf '%s\0' "${arguments[@]}" >"$folder/arguments"

# The simulated server never runs on a GPU: whether there is a fit one is not its concern.
device="$SG_DEVICE"
if [[ "$SG_FRAMEWORK" == sim && "$device" == auto && "$SG_MODE" != health ]]; then
  device=cpu
fi
output results "$results"
output arguments "$folder/arguments"
output device "$device"
