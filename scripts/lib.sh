# Shared by the scripts of this folder; sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
torch_version=2.11.0
# shellcheck disable=SC2034
torch_pins=("torch==$torch_version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)

say() { printf '== %s\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Prints the comment at the top of the calling script: one text is its documentation and its --help.
show_help() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# Answers --help, and stops at the first argument that no pattern after `--` allows.
# usage: check_arguments allowed... -- "$@"
check_arguments() {
  local allowed=()
  while [ "$1" != -- ]; do
    allowed+=("$1")
    shift
  done
  shift
  local argument word
  for argument in "$@"; do
    case $argument in -h | --help) show_help && exit 0 ;; esac
    for word in ${allowed[@]+"${allowed[@]}"}; do
      [ "$argument" = "$word" ] && continue 2
    done
    printf '%s: unknown argument %s\n\n' "$(basename "$0")" "$argument" >&2
    show_help >&2
    exit 2
  done
}

# The folder of the Python package torch, whether it is there or not.
torch_dir() {
  if [ -n "${FOVEA_TORCH_DIR:-}" ]; then
    echo "$FOVEA_TORCH_DIR"
    return
  fi
  local found
  for found in "$root"/.deps/torch/lib/python3*/site-packages/torch; do
    echo "$found"
  done
}

# Bytes this process may use: the machine's, or less where a control group says so.
memory_limit() {
  local bytes limit
  bytes=$(($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) * 1024))
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [ "$limit" != max ] && [ "$limit" -lt "$bytes" ]; then bytes=$limit; fi
  echo "$bytes"
}

# Compilers at once: a file that uses torch takes up to 1.5 GB, so 2 GB are set aside for each.
jobs() {
  if [ -n "${FOVEA_JOBS:-}" ]; then
    echo "$FOVEA_JOBS"
    return
  fi
  local cores memory
  cores=$(nproc)
  memory=$(($(memory_limit) / 2000000000))
  if [ "$memory" -lt "$cores" ]; then cores=$memory; fi
  if [ "$cores" -lt 1 ]; then cores=1; fi
  echo "$cores"
}

# configure PRESET [cmake arguments]. Warnings are errors where CI=true, as the compiler's version is known there.
configure() {
  local preset=$1 werror=OFF
  shift
  if [ "${CI:-}" = true ]; then werror=ON; fi
  (cd "$root" && cmake --preset "$preset" -DFOVEA_TORCH_DIR="$(torch_dir)" -DFOVEA_WERROR=$werror "$@" >&2)
}

# compile PRESET [targets]: ninja, with as many jobs as the memory allows.
compile() {
  local preset=$1
  shift
  ninja -C "$root/build/$preset" -j "$(jobs)" "$@" >&2
}
