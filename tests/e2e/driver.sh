#!/bin/sh
# What the trainer says, and does, about drivers, GPUs and NVRTC that are absent, too old or too small: against
# a stub of the driver (tests/stub), since no machine has them all.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export MVCC_CACHE="$work/cache" MVCC_GPU_LIBRARIES=off
small="$root/models/digits.mvs --set depth=1 --set width=16 --set heads=2 --set ffn=16"
# shellcheck disable=SC2086
{
"$MVCC" $small --gpu sm_80 -o "$work/x"
"$MVCC" $small --gpu sm_90a -o "$work/waits"
"$MVCC" $small -o "$work/host"
}
export LD_LIBRARY_PATH="$BUILD/tests/stub"
mkdir "$work/broken" "$work/empty"; echo no library >"$work/broken/libcuda.so.1"
cd "$work"

# says TITLE PATTERN [NAME=VALUE...] COMMAND...: fails, and a line of standard error has the pattern.
says() {
  title=$1 pattern=$2; shift 2
  if env "$@" >out 2>err; then echo "not ok $title: it succeeds"; return; fi
  if grep -q -e "$pattern" err; then echo "ok $title"; else echo "not ok $title: $(cat err)"; fi
}
# runs TITLE PATTERN [NAME=VALUE...] COMMAND...: succeeds, and a line of standard output has the pattern.
runs() {
  title=$1 pattern=$2; shift 2
  if env "$@" >out 2>err && grep -q -e "$pattern" out; then echo "ok $title"; else echo "not ok $title: $(cat err)"; tail -3 out; fi
}
cuda="./x info --kernels --device cuda"
# shellcheck disable=SC2086
{
says "a driver that cannot be loaded" "error: no NVIDIA driver: .*libcuda.so.1" LD_LIBRARY_PATH="$work/broken" $cuda
says "a driver too old" "driver is too old: it supports CUDA 11.8 and this needs 12.0" STUB_VERSION=11080 $cuda
says "no GPU" "the NVIDIA driver finds no GPU" STUB_GPUS=0 $cuda
says "a program without code for GPUs" "holds no code for a GPU; compile it with --gpu sm_100a" \
  STUB_GPU=100 ./host info --kernels --device cuda
says "an unknown device, before anything is printed" "device" ./x info --device tpu
[ -s out ] && echo "not ok info prints before it refuses" || echo "ok nothing is printed"
says "auto with a driver too old is no reason for the processor" "driver is too old.*" STUB_VERSION=11080 ./x info --kernels
runs "auto without a driver is the processor" "kernels on cpu" LD_LIBRARY_PATH="$work/broken" ./x info --kernels
runs "auto without a GPU is the processor" "kernels on cpu" STUB_GPUS=0 ./x info --kernels
runs "auto without code for GPUs is the processor" "kernels on cpu" ./host info --kernels

runs "its own cubin" "kernels on cuda (Stub 80, sm_80)" $cuda
runs "an older cubin of the same generation" "(Stub 86, sm_80)" STUB_GPU=86 $cuda
runs "PTX on a GPU that came later" "(Stub 90, compute_80)" STUB_GPU=90 $cuda
runs "PTX when the driver refuses the cubin" "(Stub 80, compute_80)" STUB_REFUSES=cubin $cuda
runs "NVRTC when the driver refuses the PTX" "(Stub 90, sm_90a by NVRTC 1[2-9]\." STUB_GPU=90 STUB_REFUSES=ptx $cuda
runs "NVRTC alone" "(Stub 90, sm_90a by NVRTC" STUB_GPU=90 MVCC_CUDA_IMAGES=text $cuda
says "all refused" "the driver refuses the program's code for sm_90a by NVRTC" STUB_GPU=90 STUB_REFUSES=cubin,ptx $cuda
grep -q "no cubin that fits: it holds sm_80, compute_80" err &&
  grep -q "refuses the program's code for compute_80: not for me (CUDA_ERROR_UNSUPPORTED_PTX_VERSION)" err &&
  echo "ok every reason is told" || echo "not ok every reason is told: $(cat err)"
says "no cubin though one is wanted" "no cubin that fits: it holds sm_80, compute_80" \
  STUB_GPU=90 MVCC_CUDA_IMAGES=cubin $cuda
says "an unknown way" "MVCC_CUDA_IMAGES is cubin, ptx or text, not 'sass'" MVCC_CUDA_IMAGES=sass $cuda
says "a GPU that NVRTC does not know" "does not compile for this GPU (Stub 70, sm_70): it knows sm_75" STUB_GPU=70 $cuda
says "no NVRTC" "NVRTC (libnvrtc.so.13 or libnvrtc.so.12) was not found in MVCC_CUDA_PATH ($work/empty)" \
  STUB_GPU=75 MVCC_CUDA_PATH="$work/empty" ./x info --kernels
grep -q "hint: scripts/setup-cuda.sh" err && grep -q "hint: or compile the model with --gpu sm_75" err &&
  grep -q "hint: --device cpu" err && echo "ok what helps is told" || echo "not ok what helps is told: $(cat err)"
runs "without cuBLASLt the generated kernels run" "(generated: libcublasLt.so.13 was not found)" \
  MVCC_GPU_LIBRARIES=on MVCC_CUDA_PATH="$work/empty" $cuda
grep -q "note: matmuls will be slow, .*: libcublasLt.so.13 was not found (looked in MVCC_CUDA_PATH ($work/empty)); scripts/setup-cuda.sh" err &&
  echo "ok and the user is told" || echo "not ok the user is told: $(cat err)"
says "a driver of CUDA 12 wants NVRTC 12" "NVRTC (libnvrtc.so.12) was not found" \
  STUB_VERSION=12080 MVCC_CUDA_IMAGES=text MVCC_CUDA_PATH="$work/empty" $cuda
says "no NVRTC to compile with" "NVRTC (.*) was not found in MVCC_CUDA_PATH ($work/empty)" \
  MVCC_CUDA_PATH="$work/empty" "$MVCC" "$root/models/digits.mvs" --gpu sm_90a -o y

train="train --device cuda --batch 64 --steps 1 --out run"
says "weights larger than the GPU" "alone, but only .* are free; " STUB_MEMORY=100000 ./x $train
says "activations larger than the GPU" "use .*--micro-batch" STUB_MEMORY=2000000 ./x $train
says "memory that goes away" "out of memory: .* were asked for and .* of .* are free; .*--micro-batch" \
  STUB_MEMORY=2000000 ./x $train --memory 1GiB
# The stub fails early launches of PTX that has no wait or stands behind an event, and others of PTX that has one.
runs "kernels that wait are launched early" "^trained 1 of 1" STUB_GPU=90 STUB_REFUSES=cubin ./waits $train-early
runs "kernels that do not are launched in order" "^trained 1 of 1" STUB_GPU=90 ./x $train-order
says "a kernel that fails" "the GPU failed in kernel 'k[0-9]*_[a-z]*': cuLaunchKernelEx: stub (CUDA_ERROR_STUB)" \
  STUB_FAILS=700 ./x $train-failing
}
