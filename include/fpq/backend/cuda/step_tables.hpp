// SPDX-License-Identifier: Apache-2.0
// Floor 6. What the kernels of an engine's step read of it: one buffer of integers on the device,
// filled by one copy from pinned memory a step, at addresses that never change, so that a recorded
// step can be played again. Also what is kept from step to step: answers, partial results, graphs.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/gpu_context.hpp"
#include "fpq/backend/cuda/status.hpp"
#include "fpq/backend/ragged.hpp"
#include "fpq/cuda/api/paged.hpp"

namespace fpq {

/// `size` values of pinned host memory. Move only.
template <class T>
class pinned_array {
public:
    pinned_array() = default;
    explicit pinned_array(std::size_t size) : size_(size) {
        void* fresh = nullptr;
        require_cuda(cudaMallocHost(&fresh, std::max<std::size_t>(1, size) * sizeof(T)),
                     "pinned memory");
        data_ = static_cast<T*>(fresh);
    }
    pinned_array(pinned_array&& o) noexcept
        : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
    pinned_array& operator=(pinned_array&& o) noexcept {
        std::swap(data_, o.data_);
        std::swap(size_, o.size_);
        return *this;
    }
    ~pinned_array() {
        if (data_ != nullptr) {
            static_cast<void>(cudaFreeHost(data_));
        }
    }
    [[nodiscard]] T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Where each table of a step begins in the buffer, in integers; the block tables, whose length
/// changes most, come last.
struct step_layout {
    std::size_t tokens, positions, slots, wanted, targets, counts, queries, chunks, tiles, pages,
        all;

    explicit step_layout(ragged_limits const& most) {
        std::size_t at = 0;
        auto const take = [&at](std::size_t count, std::size_t width) {
            std::size_t const here = at;
            at += (count * width + 3) / 4 * 4;  // kernels read 16 bytes at a time
            return here;
        };
        // A span of a step has a row, so there are no more of anything than rows.
        tokens = take(most.rows, 1);
        positions = take(most.rows, 1);
        slots = take(most.rows, 1);
        wanted = take(most.rows, 1);
        targets = take(most.rows, 1);
        counts = take(most.rows, 1);
        queries = take(most.rows, sizeof(cuda::paged_query) / sizeof(std::int32_t));
        chunks = take(most.spans, sizeof(cuda::paged_chunk) / sizeof(std::int32_t));
        tiles = take(most.rows, sizeof(cuda::paged_tile) / sizeof(std::int32_t));
        pages = take(most.pages, 1);
        all = at;
    }
};

/// A step that was recorded, and how often its like has run.
class recorded_step {
public:
    recorded_step() = default;
    recorded_step(recorded_step&& o) noexcept
        : graph_(std::exchange(o.graph_, nullptr)), runs_(o.runs_) {}
    recorded_step& operator=(recorded_step&& o) noexcept {
        std::swap(graph_, o.graph_);
        std::swap(runs_, o.runs_);
        return *this;
    }
    ~recorded_step() {
        if (graph_ != nullptr) {
            static_cast<void>(cudaGraphExecDestroy(graph_));
        }
    }

    /// Does `work` on the context's stream: the first time as it is, so that whatever is made at
    /// first use is made; the second time it is recorded; from then on it is played.
    template <class F>
    void run(gpu_context& context, F const& work) {
        if (runs_++ == 0) {
            arrays_in_use const kept(context, gpu_context::arrays::kept);
            work();
            return;
        }
        if (graph_ == nullptr) {
            arrays_in_use const recorded(context, gpu_context::arrays::recorded);
            record(context.stream(), work);
        }
        require_cuda(cudaGraphLaunch(graph_, context.stream()), "CUDA graph");
    }

private:
    /// use_arrays for a scope.
    class arrays_in_use {
    public:
        arrays_in_use(gpu_context& context, gpu_context::arrays which) : context_(context) {
            context.use_arrays(which);
        }
        arrays_in_use(arrays_in_use const&) = delete;
        arrays_in_use& operator=(arrays_in_use const&) = delete;
        ~arrays_in_use() { context_.use_arrays(gpu_context::arrays::pooled); }

    private:
        gpu_context& context_;
    };

    template <class F>
    void record(cudaStream_t stream, F const& work) {
        require_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                     "CUDA graph");
        cudaGraph_t graph = nullptr;
        try {
            work();
        } catch (...) {
            static_cast<void>(cudaStreamEndCapture(stream, &graph));
            static_cast<void>(graph != nullptr ? cudaGraphDestroy(graph) : cudaSuccess);
            static_cast<void>(cudaGetLastError());
            throw;
        }
        require_cuda(cudaStreamEndCapture(stream, &graph), "CUDA graph");
        cudaError_t const made = cudaGraphInstantiate(&graph_, graph, 0);
        static_cast<void>(cudaGraphDestroy(graph));
        require_cuda(made, "CUDA graph");
    }

    cudaGraphExec_t graph_ = nullptr;
    std::size_t runs_ = 0;
};

/// The most rows of a step that is recorded, and of which all attend alone.
inline constexpr std::size_t most_recorded_rows = 64;

/// The tables of one step after the other. See the verbs in paged.hpp.
class gpu_step_tables {
public:
    gpu_step_tables(std::shared_ptr<gpu_context> context, ragged_limits const& most)
        : context_(std::move(context)),
          layout_(most),
          rows_limit_(most.rows),
          host_(layout_.all),
          device_(context_, layout_.all),
          facts_(context_, most.rows),
          facts_on_host_(most.rows),
          parts_(context_, most.rows * cuda::row_facts_parts),
          row_counters_(context_, most.rows) {
        require_cuda(cudaMemsetAsync(row_counters_.data(), 0, most.rows * sizeof(unsigned),
                                     context_->stream()),
                     "counters of a step");
        require_cuda(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "CUDA event");
    }
    gpu_step_tables(gpu_step_tables const&) = delete;
    gpu_step_tables& operator=(gpu_step_tables const&) = delete;
    ~gpu_step_tables() {
        static_cast<void>(cudaEventSynchronize(copied_));
        static_cast<void>(cudaEventDestroy(copied_));
    }

    /// Takes a step; its rows are filled up to `rows`, and what is wanted to `wanted`, with rows
    /// that belong to nobody.
    void set(ragged_rows const& step, std::span<row_query const> queries, std::size_t rows,
             std::size_t wanted, std::size_t chunk_rows) {
        rows_ = rows;
        wanted_ = wanted;
        page_ = step.page;
        // A step of which nothing was read may still wait for its copy.
        require_cuda(cudaEventSynchronize(copied_), "tables of a step");
        fill(step, rows, chunk_rows);
        fill_wanted(step, queries, wanted);
        std::size_t const used = layout_.pages + step.pages.size();
        require_cuda(cudaMemcpyAsync(device_.data(), host_.data(), used * sizeof(std::int32_t),
                                     cudaMemcpyHostToDevice, context_->stream()),
                     "tables of a step");
        require_cuda(cudaEventRecord(copied_, context_->stream()), "tables of a step");
    }

    [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
    [[nodiscard]] std::size_t wanted() const noexcept { return wanted_; }
    [[nodiscard]] std::size_t singles() const noexcept { return singles_; }
    [[nodiscard]] std::size_t chunk_tiles() const noexcept { return tiles_; }
    [[nodiscard]] std::size_t page() const noexcept { return page_; }
    /// Every row attends alone and all are wanted: the next token of every sequence.
    [[nodiscard]] bool only_decodes() const noexcept { return only_decodes_; }

    [[nodiscard]] std::int32_t const* tokens() const { return device_.data() + layout_.tokens; }
    [[nodiscard]] std::int32_t const* positions() const {
        return device_.data() + layout_.positions;
    }
    [[nodiscard]] std::int32_t const* slots() const { return device_.data() + layout_.slots; }
    [[nodiscard]] std::int32_t const* wanted_rows() const {
        return device_.data() + layout_.wanted;
    }
    [[nodiscard]] std::int32_t const* targets() const { return device_.data() + layout_.targets; }
    [[nodiscard]] std::int32_t const* counts() const { return device_.data() + layout_.counts; }
    [[nodiscard]] std::int32_t const* pages() const { return device_.data() + layout_.pages; }
    [[nodiscard]] cuda::paged_query const* queries() const {
        return reinterpret_cast<cuda::paged_query const*>(device_.data() + layout_.queries);
    }
    [[nodiscard]] cuda::paged_chunk const* chunks() const {
        return reinterpret_cast<cuda::paged_chunk const*>(device_.data() + layout_.chunks);
    }
    [[nodiscard]] cuda::paged_tile const* tiles() const {
        return reinterpret_cast<cuda::paged_tile const*>(device_.data() + layout_.tiles);
    }
    [[nodiscard]] cuda::row_facts* facts() const noexcept { return facts_.data(); }

    /// The facts of wanted rows [first, first + count), here: waits for the device.
    [[nodiscard]] std::span<cuda::row_facts const> fetch_facts(std::size_t first,
                                                               std::size_t count) {
        require_cuda(cudaMemcpyAsync(facts_on_host_.data(), facts_.data() + first,
                                     count * sizeof(cuda::row_facts), cudaMemcpyDeviceToHost,
                                     context_->stream()),
                     "answers of a step");
        context_->wait();
        return {facts_on_host_.data(), count};
    }

    /// Memory for partial results of attention, for every step that there can be.
    void make_room(std::size_t heads, std::size_t head_dim) {
        std::size_t const pages = layout_.all - layout_.pages;
        std::size_t const splits = pages * page_ / cuda::paged_split + rows_limit_ + 1;
        std::size_t const floats = splits * cuda::paged_partials(heads, head_dim);
        if (partials_.size() < floats) {
            partials_ = gpu_array<float>(context_, floats);
        }
        if (counters_.size() < rows_limit_ * heads) {
            counters_ = gpu_array<unsigned>(context_, rows_limit_ * heads);
            require_cuda(cudaMemsetAsync(counters_.data(), 0, counters_.size() * sizeof(unsigned),
                                         context_->stream()),
                         "counters of a step");
        }
    }
    /// For rows of logits, as many as are held at once.
    [[nodiscard]] cuda::row_facts_room facts_room() const noexcept {
        return {parts_.data(), row_counters_.data()};
    }
    [[nodiscard]] float* partials() const noexcept { return partials_.data(); }
    [[nodiscard]] unsigned* counters() const noexcept { return counters_.data(); }

    /// The record of steps of as many rows.
    [[nodiscard]] recorded_step& record() { return records_[rows_]; }

private:
    void fill(ragged_rows const& step, std::size_t rows, std::size_t chunk_rows) {
        std::int32_t* const h = host_.data();
        std::size_t const given = step.tokens.size();
        auto const number = [](std::size_t n) { return static_cast<std::int32_t>(n); };
        std::copy(step.tokens.begin(), step.tokens.end(), h + layout_.tokens);
        std::copy(step.pages.begin(), step.pages.end(), h + layout_.pages);
        singles_ = 0;
        tiles_ = 0;
        std::size_t chunks = 0;
        std::size_t splits = 0;
        for (ragged_span const& s : step.spans) {
            for (std::size_t i = 0; i < s.count; ++i) {
                h[layout_.positions + s.row + i] = number(s.position + i);
                h[layout_.slots + s.row + i] = number(step.slot(s, s.position + i));
            }
            if (s.count == 1) {
                put(layout_.queries, singles_++,
                    cuda::paged_query{number(s.row), number(s.position + 1), number(s.table),
                                      number(splits)});
                splits += (s.position + cuda::paged_split) / cuda::paged_split;
                continue;
            }
            for (std::size_t q = 0; q < s.count; q += chunk_rows) {
                put(layout_.tiles, tiles_++, cuda::paged_tile{number(chunks), number(q)});
            }
            put(layout_.chunks, chunks++,
                cuda::paged_chunk{number(s.row), number(s.count), number(s.position),
                                  number(s.table)});
        }
        only_decodes_ = tiles_ == 0 && step.wanted.size() == given;
        for (std::size_t i = given; i < rows; ++i) {
            h[layout_.tokens + i] = 0;
            h[layout_.positions + i] = 0;
            h[layout_.slots + i] = -1;
        }
        // Queries that see nothing, so that a step of as many rows has as many of them.
        for (std::size_t i = singles_; only_decodes_ && i < rows; ++i) {
            put(layout_.queries, i, cuda::paged_query{number(i), 0, 0, 0});
        }
        singles_ = only_decodes_ ? rows : singles_;
    }

    void fill_wanted(ragged_rows const& step, std::span<row_query const> queries,
                     std::size_t wanted) {
        std::int32_t* const h = host_.data();
        for (std::size_t i = 0; i < wanted; ++i) {
            bool const asked = i < queries.size();
            h[layout_.wanted + i] = asked ? step.wanted[i] : 0;
            h[layout_.targets + i] = asked ? queries[i].target.value_or(-1) : -1;
            std::size_t const top = asked ? queries[i].top : 0;
            h[layout_.counts + i] =
                static_cast<std::int32_t>(std::clamp<std::size_t>(top, 1, cuda::most_listed));
        }
    }

    template <class T>
    void put(std::size_t table, std::size_t i, T const& value) {
        std::memcpy(host_.data() + table + i * (sizeof(T) / sizeof(std::int32_t)), &value,
                    sizeof value);
    }

    std::shared_ptr<gpu_context> context_;
    step_layout layout_;
    std::size_t rows_limit_;
    pinned_array<std::int32_t> host_;
    gpu_array<std::int32_t> device_;
    gpu_array<cuda::row_facts> facts_;
    pinned_array<cuda::row_facts> facts_on_host_;
    gpu_array<cuda::score_part> parts_;
    gpu_array<unsigned> row_counters_;
    gpu_array<float> partials_;
    gpu_array<unsigned> counters_;
    std::map<std::size_t, recorded_step> records_;  // by rows
    cudaEvent_t copied_ = nullptr;
    std::size_t rows_ = 0;
    std::size_t wanted_ = 0;
    std::size_t singles_ = 0;
    std::size_t tiles_ = 0;
    std::size_t page_ = 1;
    bool only_decodes_ = false;
};

}  // namespace fpq
