#!/usr/bin/env bash
# The emulated kernels under AddressSanitizer and UBSan, which must be there before Python is; in
# another order of threads than without them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export MINICNN_SANITIZE=1 MINICNN_EMULATION_SEED=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
    exec python -m pytest --capture=sys tests/kernels/cuda \
    --ignore=tests/kernels/cuda/test_compile.py --ignore=tests/kernels/cuda/test_numba_cuda.py "$@"
