// SPDX-License-Identifier: Apache-2.0
// Floors 0-1 in one include: number formats, block formats, packing, scale layouts. This is what an
// inference engine includes; it needs nothing but the standard library, and no allocation.
// Left out on purpose: the hosted core/hosted/error.hpp, and core/random.hpp with its <cmath>.
#pragma once

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/grid_rule.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/near_scale.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/format/scale_bytes.hpp"
#include "fpq/format/scale_layout.hpp"
#include "fpq/format/scale_rule.hpp"
#include "fpq/format/stored_scale.hpp"
#include "fpq/format/transform_kind.hpp"
#include "fpq/version.hpp"
