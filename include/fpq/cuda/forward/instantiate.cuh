// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The definitions of the launchers in api/forward.hpp, api/paged.hpp and api/score.hpp:
// include in one .cu of a program.
#pragma once

#include "fpq/cuda/forward/launch_attention.cuh"
#include "fpq/cuda/forward/launch_cached_attention.cuh"
#include "fpq/cuda/forward/launch_chunk_attention.cuh"
#include "fpq/cuda/forward/launch_convert.cuh"
#include "fpq/cuda/forward/launch_paged_attention.cuh"
#include "fpq/cuda/forward/launch_paged_rows.cuh"
#include "fpq/cuda/forward/launch_rope.cuh"
#include "fpq/cuda/forward/launch_rows.cuh"
#include "fpq/cuda/forward/launch_score.cuh"
