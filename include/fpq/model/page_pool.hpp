// SPDX-License-Identifier: Apache-2.0
// Floor 7. Which pages of the key/value caches are free: numbers only, the same for every layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace fpq {

/// Pages 0 .. count-1, each given to one sequence at a time.
class page_pool {
public:
    explicit page_pool(std::size_t count) : count_(count), free_(count) {
        std::iota(free_.rbegin(), free_.rend(), 0);
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t free() const noexcept { return free_.size(); }

    /// `count` pages, at most free().
    [[nodiscard]] std::vector<std::int32_t> take(std::size_t count) {
        auto const first = free_.end() - static_cast<std::ptrdiff_t>(count);
        std::vector<std::int32_t> out(first, free_.end());
        free_.erase(first, free_.end());
        return out;
    }
    void give_back(std::vector<std::int32_t> const& pages) {
        free_.insert(free_.end(), pages.begin(), pages.end());
    }

private:
    std::size_t count_;
    std::vector<std::int32_t> free_;  // the next is taken from the end
};

}  // namespace fpq
