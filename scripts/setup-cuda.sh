#!/bin/sh
# Brings the parts of NVIDIA's CUDA toolkit that mvcc and trainers open at run time into a folder, from PyPI:
# NVRTC (compiles kernels, needs no GPU), cuBLASLt and cuDNN (matmuls and attention where there is a GPU).
# What is there already is left alone. Nothing else on the machine is touched.
# usage: scripts/setup-cuda.sh FOLDER [nvrtc|cublas|cudnn...]      default: all three, 1.2 GB in the folder
set -eu
usage() { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
case $1 in -*|'') usage ;; esac
folder=$1; shift
[ $# -gt 0 ] || set -- nvrtc cublas cudnn

# One wheel each, for x86-64, by version and sha256.
wheel_of() {
  case $1 in
    nvrtc) echo "nvidia-cuda-nvrtc==13.0.88 --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575" ;;
    cublas) echo "nvidia-cublas==13.1.0.3 --hash=sha256:ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171" ;;
    cudnn) echo "nvidia-cudnn-cu13==9.19.0.56 --hash=sha256:d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf" ;;
    *) echo "setup-cuda: there is no part '$1': nvrtc, cublas or cudnn" >&2; exit 2 ;;
  esac
}
find_pip() {
  for python in "${PYTHON:-python3}" /usr/bin/python3; do
    "$python" -m pip --version >/dev/null 2>&1 && { echo "$python"; return; }
  done
  echo "setup-cuda: pip is missing; on Debian: apt-get install python3-pip" >&2; exit 1
}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d "$folder/.setup.XXXXXX"); trap 'rm -rf "$work"' EXIT

bring() { # PART: its libraries into lib, its license into licenses
  wheel=$(wheel_of "$1")
  mark="$folder/.$1-$(echo "${wheel%% *}" | sed 's/.*==//')"
  [ -f "$mark" ] && return
  echo "setup-cuda: bringing ${wheel%% *}" >&2
  echo "$wheel" >"$work/wheel.txt"
  "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: \
    --require-hashes --target "$work/$1" -r "$work/wheel.txt"
  mkdir -p "$folder/lib" "$folder/licenses/$1"
  rm -f "$work/$1"/nvidia/*/lib/*.alt.so* # NVRTC once more, for systems with an old libc
  mv "$work/$1"/nvidia/*/lib/*.so* "$folder/lib/"
  find "$work/$1" -iname '*licen*.txt' -exec cp {} "$folder/licenses/$1/" \;
  : >"$mark"
}
for part; do wheel_of "$part" >/dev/null; done
python=$(find_pip)
for part; do bring "$part"; done
echo "export MVCC_CUDA_PATH=$folder"
