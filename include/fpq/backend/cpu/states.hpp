// SPDX-License-Identifier: Apache-2.0
// Floor 6. Hidden states of many windows on the CPU: in memory, or over the budget in a mapped file
// without a name.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/core/view.hpp"
#include "fpq/io/file/scratch_memory.hpp"

namespace fpq {

/// (rows, cols) values.
class cpu_states {
public:
    cpu_states(std::size_t rows, std::size_t cols, bool in_file) {
        if (in_file) {
            file_ = scratch_memory(rows * cols * sizeof(float));
            all_ = as_view(reinterpret_cast<float*>(file_.data()), rows, cols);
        } else {
            memory_ = cpu::tensor(rows, cols);
            all_ = memory_.view();
        }
    }
    [[nodiscard]] cpu::view view() const noexcept { return all_; }
    /// Where they lie, for a report.
    [[nodiscard]] char const* place() const noexcept {
        return file_.size() != 0 ? "a mapped file" : "memory";
    }

private:
    cpu::tensor memory_;
    scratch_memory file_;
    cpu::view all_;
};

/// Rows that were lent; see memory_budget.hpp.
struct cpu_lent {
    cpu::tensor own;
    cpu::view rows;
};

/// Room for hidden states (rows, cols), uninitialized. `beside`: bytes of the card that the work on
/// a layer takes; nothing here.
[[nodiscard]] inline cpu_states make_states(cpu const& b, std::size_t rows, std::size_t cols,
                                            std::uint64_t /*beside*/) {
    std::uint64_t const bytes = std::uint64_t{rows} * cols * sizeof(float);
    return {rows, cols, b.budget.host != 0 && bytes > b.budget.host};
}

/// Rows [first, first + count). At most two may be lent at a time, of different rows.
[[nodiscard]] inline cpu_lent lend(cpu const&, cpu_states& states, std::size_t first,
                                   std::size_t count, loan what) {
    cpu::view const rows = states.view().rows_at(first, count);
    if (what != loan::copy) {
        return {{}, rows};
    }
    cpu_lent out{{rows.rows, rows.cols}, {}};
    out.rows = out.own.view();
    for (std::size_t r = 0; r < count; ++r) {
        std::copy_n(rows.row(r), rows.cols, out.rows.row(r));
    }
    return out;
}

/// The rows, for work that is asked for from now on.
inline cpu::view use(cpu const&, cpu_lent const& lent) noexcept { return lent.rows; }

/// The end of a loan: but for a copy, rows [first, ...) are now what was lent.
inline void take_back(cpu const&, cpu_states&, std::size_t /*first*/, cpu_lent const&,
                      loan) noexcept {}

}  // namespace fpq
