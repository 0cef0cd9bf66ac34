#!/usr/bin/env bash
# The emulated kernels under AddressSanitizer and UBSan, which must be there before Python is.
set -euo pipefail
cd "$(dirname "$0")/../.."
export MINICNN_SANITIZE=1 ASAN_OPTIONS=detect_leaks=0
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
    exec python -m pytest tests/kernels/cuda \
    --ignore=tests/kernels/cuda/test_compile.py --ignore=tests/kernels/cuda/test_numba_cuda.py "$@"
