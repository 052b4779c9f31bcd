#!/bin/sh
# Installs what building and testing mvcc need on Debian 12. Does nothing when all is there. `setup.sh tests` also
# brings what single tests are skipped without.
set -eu
cd "$(dirname "$0")/.."
packages="gcc g++ cmake ninja-build flex bison llvm-19-dev libzstd-dev zlib1g-dev libminizip-dev libpng-dev
  libjansson-dev libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libcmocka-dev python3 python3-numpy"
# Tests compile CUDA code, for which they need NVRTC and no GPU: that of a toolkit, else one from PyPI in
# build-cuda, where tests/run.sh looks for it.
nvrtc_is_there() {
  [ -n "${MVCC_CUDA_PATH:-}" ] && return 0
  for library in $(/sbin/ldconfig -p | sed -n 's/.*libnvrtc\.so\.1[23] .*=> //p') \
    "${CUDA_HOME:-/usr/local/cuda}"/lib64/libnvrtc.so.1[23] /usr/local/cuda/lib64/libnvrtc.so.1[23]; do
    [ -e "$library" ] && return 0
  done
  return 1
}
nvrtc_is_there || packages="$packages python3-pip"
[ "${1:-}" != tests ] || packages="$packages libdnnl-dev python3-pip clang-tidy-19 clang-19 libclang-rt-19-dev"
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing="$missing $package"
done
install() {
  as_root=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup: run as root, or install:$missing" >&2; exit 1; }
    as_root=sudo
  fi
  echo "setup: installing$missing" >&2
  $as_root apt-get update -qq
  # shellcheck disable=SC2086  # the list is split on purpose
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
[ -z "$missing" ] || install
# A browser that looks at the page of runs (110 MB): not worth failing for.
if [ "${1:-}" = tests ] && ! command -v chromium >/dev/null; then
  missing="chromium"
  (install) || echo "setup: without Chromium, tests of the page are skipped" >&2
fi
# TensorBoard's own reader of event files, and no more of it than that needs (17 MB).
if [ "${1:-}" = tests ] && [ ! -d build-tensorboard ]; then
  echo "setup: bringing TensorBoard's reader into build-tensorboard" >&2
  /usr/bin/python3 -m pip install --quiet --no-deps --target build-tensorboard tensorboard==2.21.0 protobuf==7.36.2 \
    packaging==26.3 absl-py==2.5.1 2>/dev/null ||
    { rm -rf build-tensorboard; echo "setup: without it, tests of event files are skipped" >&2; }
fi
nvrtc_is_there || ./scripts/setup-cuda.sh build-cuda nvrtc >/dev/null
