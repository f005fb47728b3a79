// SPDX-License-Identifier: Apache-2.0
// Compiled, not run: the W4A4 mainloop with the hardware's instruction, every format and tile.
// run_block_scaled_mma.sh counts the instructions and the registers.
#include "fpq/cuda/gemm/w4a4_kernel.cuh"

namespace fpq::cuda {

template __global__ void w4a4_kernel<hw_atom<nvfp4_scales>, w4a4_tile_128>(w4a4_args const);
template __global__ void w4a4_kernel<hw_atom<nvfp4_scales>, w4a4_tile_64>(w4a4_args const);
template __global__ void w4a4_kernel<hw_atom<nvfp4_scales>, w4a4_tile_16>(w4a4_args const);
template __global__ void w4a4_kernel<hw_atom<mxfp4_scales>, w4a4_tile_128>(w4a4_args const);
template __global__ void w4a4_kernel<hw_atom<mxfp4_scales>, w4a4_tile_64>(w4a4_args const);
template __global__ void w4a4_kernel<hw_atom<mxfp4_scales>, w4a4_tile_16>(w4a4_args const);

}  // namespace fpq::cuda
