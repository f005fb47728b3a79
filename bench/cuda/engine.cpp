// SPDX-License-Identifier: Apache-2.0
// Tokens a second of the engine on one GPU: decoding at several batch sizes and prefill, for a
// checkpoint and, beside it, another (its original) in the same engine. Beside each step of
// decoding the bytes that it must read, and their share of the card's copy rate; medians over steps
// by the host's clock, everything included.
// usage: fpq_bench_cuda_engine CONTEXT[:BATCH[,BATCH]...] CHECKPOINT [ORIGINAL]
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/packed_linear.hpp"
#include "fpq/backend/cuda/paged.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/model/engine.hpp"
#include "line/gpu.hpp"
#include "timing.hpp"

namespace {

using fpq::gpu;

/// Bytes a second, read and written, of a copy of 512 MiB.
double copy_rate() {
    std::size_t const bytes = std::size_t{512} << 20;
    fpq::cuda::device_buffer<char> from;
    fpq::cuda::device_buffer<char> to;
    fpq::require_ok(from.resize(bytes), "copy");
    fpq::require_ok(to.resize(bytes), "copy");
    fpq::require_ok(from.fill(0x3C), "copy");
    auto const copy = fpq_bench::time_on_device([&](int) {
        static_cast<void>(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice));
    });
    return 2 * static_cast<double>(bytes) / (copy.median * 1e-3);
}

/// Bytes of weights that a token's step reads: linears and head.
double weight_bytes(fpq::resident_model<gpu> const& model) {
    double bytes = 0;
    for (auto const& layer : model.layers) {
        for (auto const& linear : layer.linears) {
            bytes += linear.packed.empty() ? static_cast<double>(linear.weight.rows()) *
                                                 static_cast<double>(linear.weight.cols()) * 2
                                           : static_cast<double>(linear.packed.bytes());
        }
    }
    fpq::model_config const& c = model.frame.config();
    return bytes + static_cast<double>(c.vocab_size) * static_cast<double>(c.hidden_size) * 2;
}

std::vector<std::int32_t> some_prompt(std::size_t length, std::size_t vocabulary,
                                      std::uint64_t stream) {
    fpq::philox const source{3, stream};
    std::vector<std::int32_t> out(length);
    for (std::size_t i = 0; i < length; ++i) {
        out[i] = static_cast<std::int32_t>(source.below(i, static_cast<std::uint32_t>(vocabulary)));
    }
    return out;
}

double milliseconds_of(std::chrono::steady_clock::time_point since) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since)
        .count();
}

struct spread {
    double median, least, most;
};
spread spread_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return {values[values.size() / 2], values.front(), values.back()};
}

/// One checkpoint in an engine, asked again and again.
class subject {
public:
    subject(gpu const& b, std::filesystem::path const& directory, std::size_t context,
            std::size_t batch)
        : opened_(b, directory, fpq::shipped_architectures),
          config_(opened_.config()),
          engine_(loaded(b, context, batch)) {
        for (std::string const& note : engine_.notes()) {
            std::printf("note: %s\n", note.c_str());
        }
    }

    /// Steps of `batch` sequences, each `context` tokens long when they begin.
    spread decode(std::size_t batch, std::size_t context) {
        constexpr std::size_t warm = 8;  // recording among them
        constexpr std::size_t timed = 48;
        std::size_t begun = 0;
        for (std::size_t i = 0; i < batch; ++i) {
            fpq::generation_request r;
            r.prompt = some_prompt(context, config_.vocab_size, 10 + i);
            r.max_tokens = context + 1000 < engine_.longest() ? 1000 : engine_.longest() - context;
            ids_.push_back(
                engine_.submit(r, [&begun, first = true](fpq::generation_update const& u) mutable {
                    begun += first && !u.tokens.empty() ? 1 : 0;
                    first = first && u.tokens.empty();
                    return true;
                }));
        }
        while (engine_.waiting() != 0 || begun < batch) {
            engine_.step();
        }
        // All have begun when the last prompt is through; some are further.
        std::vector<double> took;
        for (std::size_t i = 0; i < warm + timed; ++i) {
            auto const start = std::chrono::steady_clock::now();
            engine_.step();
            if (i >= warm) {
                took.push_back(milliseconds_of(start));
            }
        }
        for (std::uint64_t const id : ids_) {
            engine_.cancel(id);
        }
        ids_.clear();
        while (engine_.step()) {
        }
        return spread_of(took);
    }

    /// A prompt of `length` tokens, to its first answer.
    spread prefill(std::size_t length) {
        std::vector<double> took;
        for (std::size_t i = 0; i < 8; ++i) {
            fpq::generation_request r;
            r.prompt = some_prompt(length, config_.vocab_size, 1000 + i);
            r.max_tokens = 1;
            engine_.submit(r, [](fpq::generation_update const&) { return true; });
            auto const start = std::chrono::steady_clock::now();
            while (engine_.step()) {
            }
            if (i >= 2) {
                took.push_back(milliseconds_of(start));
            }
        }
        return spread_of(took);
    }

    [[nodiscard]] double weights() const noexcept { return weights_; }
    [[nodiscard]] double cache_bytes(std::size_t context) const noexcept {
        return 4.0 * static_cast<double>(config_.layers * config_.kv_size() * context);
    }

private:
    fpq::engine<gpu> loaded(gpu const& b, std::size_t context, std::size_t batch) {
        auto model = fpq::load_resident(b, opened_);
        weights_ = weight_bytes(model);
        fpq::engine_options options;
        options.cache_tokens = batch * (context + 1024);
        options.batch_tokens = 2048;
        options.sequences = batch;
        return {b, std::move(model), options};
    }

    fpq::opened_model<gpu> opened_;
    fpq::model_config config_;
    double weights_ = 0;
    fpq::engine<gpu> engine_;
    std::vector<std::uint64_t> ids_;
};

int run(std::size_t context, std::vector<std::size_t> const& batches,
        std::vector<std::string> const& checkpoints) {
    cudaDeviceProp card{};
    fpq::require_cuda(cudaGetDeviceProperties(&card, 0), "device");
    double const rate = copy_rate();
    std::printf("%s, copy %.0f GB/s, context %zu\n", card.name, rate * 1e-9, context);
    for (std::string const& checkpoint : checkpoints) {
        gpu const b{4, std::make_shared<fpq::gpu_context>(0)};
        subject s(b, checkpoint, context, *std::max_element(batches.begin(), batches.end()));
        std::printf("%s\n", checkpoint.c_str());
        for (std::size_t const batch : batches) {
            spread const t = s.decode(batch, context);
            double const bytes = s.weights() + static_cast<double>(batch) * s.cache_bytes(context);
            std::printf(
                "  decode, batch %2zu   %8.3f ms [%8.3f, %8.3f] %9.0f tokens/s  %6.3f GB a "
                "step, %.3f of copy\n",
                batch, t.median, t.least, t.most, static_cast<double>(batch) / t.median * 1e3,
                bytes * 1e-9, bytes / (t.median * 1e-3) / rate);
            std::fflush(stdout);
        }
        spread const t = s.prefill(context);
        std::printf("  prefill, %6zu     %8.3f ms [%8.3f, %8.3f] %9.0f tokens/s\n", context,
                    t.median, t.least, t.most, static_cast<double>(context) / t.median * 1e3);
        std::fflush(stdout);
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3 || std::strtoul(argv[1], nullptr, 10) == 0) {
        std::fprintf(
            stderr,
            "usage: fpq_bench_cuda_engine CONTEXT[:BATCH[,BATCH]...] CHECKPOINT [ORIGINAL]\n");
        return 2;
    }
    try {
        char* rest = nullptr;
        std::size_t const context = std::strtoul(argv[1], &rest, 10);
        std::vector<std::size_t> batches;
        while (*rest == ':' || *rest == ',') {
            batches.push_back(std::max(1UL, std::strtoul(rest + 1, &rest, 10)));
        }
        if (batches.empty()) {
            batches = {1, 4, 16, 64};
        }
        return run(context, batches, {argv + 2, argv + argc});
    } catch (fpq::error const& why) {
        std::fprintf(stderr, "fpq_bench_cuda_engine: %s\n", why.what());
        return why.exit_code();
    } catch (std::exception const& why) {
        std::fprintf(stderr, "fpq_bench_cuda_engine: %s\n", why.what());
        return 5;
    }
}
